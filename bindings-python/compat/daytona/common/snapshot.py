"""What calls about snapshots take and return."""

from daytona_native import (
    CreateSnapshotParams as CreateSnapshotParams,
    PaginatedSnapshots as PaginatedSnapshots,
    Snapshot as Snapshot,
)
