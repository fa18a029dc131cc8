"""Its git repositories."""

from daytona_native import (
    AsyncGit as AsyncGit,
)
