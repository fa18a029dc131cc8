"""Its language servers."""

from daytona_native import (
    AsyncLspServer as AsyncLspServer,
)
