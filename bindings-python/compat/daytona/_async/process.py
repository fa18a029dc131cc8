"""Its processes."""

from daytona_native import (
    AsyncProcess as AsyncProcess,
)
