"""The synchronous client."""

from daytona_native import (
    Daytona as Daytona,
)
