"""Protocols and aliases, apart because only few programs load ``typing`` for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, runtime_checkable

_T = TypeVar("_T")

OutputHandler = Callable[[_T], None] | Callable[[_T], Awaitable[None]]
"""Told of output; an asynchronous client awaits what it returns."""


@runtime_checkable
class CancelEvent(Protocol):
    """Anything that says whether to stop, such as ``threading.Event`` or ``asyncio.Event``."""

    def is_set(self) -> bool:
        """Tell whether to stop."""
        ...
