"""What services of a client have in common."""

from __future__ import annotations

from .._service import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .. import _native


class AsyncService:
    """A part of a client's API."""

    _NAME = ""

    def __init__(self, client: Callable[[], _native.Daytona]) -> None:
        self._client = client

    async def _call(self, method: str, timeout: float | None, /, **values: Any) -> Any:
        from json import loads

        answer: str = await self._client().service(f"{self._NAME}.{method}", arguments(values), timeout)
        return loads(answer)
