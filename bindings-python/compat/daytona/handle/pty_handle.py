"""Connections to terminals."""

from daytona_native import (
    PtyHandle as PtyHandle,
)
