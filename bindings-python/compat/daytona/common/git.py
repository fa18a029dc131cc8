"""Results of git."""

from daytona_native import (
    GitCommitResponse as GitCommitResponse,
)
