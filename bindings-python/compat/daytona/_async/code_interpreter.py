"""Its interpreter of Python code."""

from daytona_native import (
    AsyncCodeInterpreter as AsyncCodeInterpreter,
)
