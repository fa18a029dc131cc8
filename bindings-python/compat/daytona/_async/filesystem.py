"""Its files."""

from daytona_native import (
    AsyncFileSystem as AsyncFileSystem,
)
