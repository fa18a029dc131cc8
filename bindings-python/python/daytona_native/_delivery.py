"""Terminals whose output goes to a callback, as it comes."""

from __future__ import annotations

from asyncio import current_task, ensure_future, wait

from ._async.pty import AsyncPtyHandle
from ._errors import DaytonaInvalidArgumentError
from ._pty import PtyResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from . import _native

_TAKEN = "the output goes to on_data: create or connect without it to take it here"


class DeliveredPty(AsyncPtyHandle):
    """Hands the output over until the terminal ends, it is disconnected, or the event loop ends."""

    def __init__(self, native: _native.Pty, on_data: Callable[[bytes], Any]) -> None:
        super().__init__(native)
        self._delivery = ensure_future(_deliver(native, on_data))

    async def __anext__(self) -> bytes:
        """Refuse: the output goes elsewhere."""
        raise DaytonaInvalidArgumentError(_TAKEN)

    async def wait(self, on_data: Callable[[bytes], Any] | None = None, timeout: float | None = None) -> PtyResult:
        """Wait until the shell has ended and all output is delivered; raise what the callback raised."""
        if on_data:
            raise DaytonaInvalidArgumentError(_TAKEN)
        # Unlike awaiting the task, this does not cancel it when it is cancelled itself.
        done, _ = await wait([self._delivery], timeout=timeout or None)
        if done and not self._delivery.cancelled():
            self._delivery.result()
        return PtyResult(self.exit_code, self.error)

    async def disconnect(self) -> None:
        """End the connection, and the delivery."""
        await super().disconnect()
        if self._delivery is not current_task():
            self._delivery.cancel()
            await wait([self._delivery])


async def _deliver(native: _native.Pty, on_data: Callable[[bytes], Any]) -> None:
    while (data := await native.next()) is not None:
        result = on_data(data)
        if hasattr(result, "__await__"):
            await result
