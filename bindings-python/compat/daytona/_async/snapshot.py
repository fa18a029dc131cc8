"""Snapshots."""

from daytona_native import (
    AsyncSnapshotService as AsyncSnapshotService,
)
