"""What is known of a volume."""

from __future__ import annotations

from ._model import Model


class Volume(Model):
    """A volume: storage that sandboxes share and that outlives them.

    Attributes:
        id: Unique, never reused.
        name: Unique in the organization.
        organization_id: The organization it belongs to.
        state: ``pending_create``, ``creating``, ``ready``, ``pending_delete``, ``deleting``, ``deleted`` or ``error``.
        created_at: RFC 3339, as all times.
        updated_at: When it was changed last.
        last_used_at: When a sandbox was last started with it.
        error_reason: Why it is in ``error``.
    """

    id: str
    name: str
    organization_id: str
    state: str
    created_at: str
    updated_at: str
    last_used_at: str | None = None
    error_reason: str | None = None

    _known_by = ("id", "name", "organization_id", "last_used_at")
