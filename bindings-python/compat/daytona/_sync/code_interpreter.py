"""Its interpreter of Python code."""

from daytona_native import (
    CodeInterpreter as CodeInterpreter,
)
