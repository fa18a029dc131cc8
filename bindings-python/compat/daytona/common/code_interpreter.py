"""Results of the code interpreter."""

from daytona_native import (
    ExecutionError as ExecutionError,
    ExecutionResult as ExecutionResult,
    OutputMessage as OutputMessage,
)
