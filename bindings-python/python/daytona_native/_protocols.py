"""Protocols, apart because only few programs load ``typing`` for them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class CancelEvent(Protocol):
    """Anything that says whether to stop, such as ``threading.Event`` or ``asyncio.Event``."""

    def is_set(self) -> bool:
        """Tell whether to stop."""
        ...
