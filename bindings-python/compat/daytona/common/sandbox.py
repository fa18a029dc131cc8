"""Parameters of sandboxes."""

from daytona_native import (
    Resources as Resources,
)
