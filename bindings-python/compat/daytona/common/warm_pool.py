"""Warm pools."""

from daytona_native import (
    WarmPool as WarmPool,
)
