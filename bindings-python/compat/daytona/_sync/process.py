"""Its processes."""

from daytona_native import (
    Process as Process,
)
