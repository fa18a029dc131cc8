"""Connections to terminals."""

from daytona_native import (
    AsyncPtyHandle as AsyncPtyHandle,
)
