"""Its sandboxes."""

from daytona_native import (
    Sandbox as Sandbox,
)
