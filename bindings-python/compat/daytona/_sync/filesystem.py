"""Its files."""

from daytona_native import (
    FileSystem as FileSystem,
)
