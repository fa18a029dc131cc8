"""Snapshots."""

from daytona_native import (
    SnapshotService as SnapshotService,
)
