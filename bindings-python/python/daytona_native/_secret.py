"""What the calls of secrets take and return."""

from __future__ import annotations

from ._model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any


class Secret(Model):
    """What is known of a secret; its value is never read back.

    Attributes:
        id: Unique, never reused.
        name: Unique in the organization.
        description: Free text.
        created_at: When it was made.
        placeholder: What environments of sandboxes hold in place of the value.
        hosts: Hosts that the value may be sent to; all if empty.
        updated_at: When it was changed last.
    """

    id: str
    name: str
    description: str | None = None
    created_at: datetime
    placeholder: str
    hosts: list[str]
    updated_at: datetime

    @classmethod
    def _read(cls, values: dict[str, Any]) -> Secret:
        from ._time import parse

        times = {name: parse(values[name]) for name in ("created_at", "updated_at")}
        return cls(**{**values, **times})


class CreateSecretParams(Model):
    """A new secret.

    Attributes:
        name: Letters, digits, ``_`` and ``-``, starting with a letter or ``_``; unique in the organization.
        value: The value; not shown by ``repr``.
        description: Free text.
        hosts: Host names, or ``*.`` and a domain, without ports; all hosts where ``None``.
    """

    name: str
    value: str
    description: str | None = None
    hosts: list[str] | None = None

    _secret = frozenset({"value"})


class UpdateSecretParams(Model):
    """Changes of a secret. What is ``None`` stays.

    Attributes:
        value: The new value; not shown by ``repr``.
        description: The new description.
        hosts: The new hosts, as in ``CreateSecretParams``.
    """

    value: str | None = None
    description: str | None = None
    hosts: list[str] | None = None

    _secret = frozenset({"value"})
    _known_by = ("value", "hosts")


class ListSecretsResponse(Model):
    """One page of secrets.

    Attributes:
        items: The secrets of this page.
        total: How many match, on all pages.
        next_cursor: For the next page; ``None`` on the last.
    """

    items: list[Secret]
    total: int
    next_cursor: str | None
