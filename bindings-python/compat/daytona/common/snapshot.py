"""What calls about snapshots take and return."""

from daytona_native import (
    PaginatedSnapshots as PaginatedSnapshots,
    Snapshot as Snapshot,
)
