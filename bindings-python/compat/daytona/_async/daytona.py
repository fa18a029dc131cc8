"""The asynchronous client."""

from daytona_native import (
    AsyncDaytona as AsyncDaytona,
)
