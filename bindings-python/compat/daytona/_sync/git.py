"""Its git repositories."""

from daytona_native import (
    Git as Git,
)
