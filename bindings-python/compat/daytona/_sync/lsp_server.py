"""Its language servers."""

from daytona_native import (
    LspServer as LspServer,
)
