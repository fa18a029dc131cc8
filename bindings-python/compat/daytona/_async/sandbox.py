"""Its sandboxes."""

from daytona_native import (
    AsyncSandbox as AsyncSandbox,
)
