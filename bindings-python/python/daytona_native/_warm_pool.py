"""What is known of a warm pool."""

from __future__ import annotations

from ._model import Model


class WarmPool(Model):
    """A warm pool: started sandboxes that wait for who creates one from their snapshot.

    Attributes:
        id: Unique, never reused.
        organization_id: The organization it belongs to.
        snapshot: The snapshot its sandboxes are made from.
        target: Region.
        pool: How many sandboxes are to wait.
        current_size: How many do.
        cpu: Cores of each.
        mem: Memory of each in GiB.
        disk: Disk of each in GiB.
        os_user: User of each.
        env: Environment of each.
        error_reason: Why it cannot be filled.
        created_at: RFC 3339.
        updated_at: RFC 3339.
    """

    id: str
    organization_id: str
    snapshot: str
    target: str
    pool: int
    current_size: int
    cpu: int
    mem: int
    disk: int
    os_user: str
    env: dict[str, str]
    error_reason: str | None = None
    created_at: str
    updated_at: str
