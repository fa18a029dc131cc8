"""Warm pools: started sandboxes that wait for who creates one."""

from __future__ import annotations

from .._service import snake
from .._warm_pool import WarmPool
from .service import AsyncService


class AsyncWarmPoolService(AsyncService):
    """The warm pools of the organization."""

    _NAME = "warm_pool"

    async def list(self, request_timeout: float | None = None) -> list[WarmPool]:
        """List all warm pools.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        return [WarmPool(**snake(one)) for one in await self._call("list", request_timeout)]

    async def create(
        self, snapshot: str, pool: int, target: str | None = None, request_timeout: float | None = None
    ) -> WarmPool:
        """Create a warm pool; it fills in the background.

        Args:
            snapshot: Id or name of the snapshot.
            pool: How many sandboxes are to wait.
            target: Region; the organization's default where ``None``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaConflictError: There is one for this snapshot and region.
            DaytonaInvalidArgumentError: A negative size; nothing was sent.
        """
        params = {"snapshot": snapshot, "pool": pool, "target": target}
        return WarmPool(**snake(await self._call("create", request_timeout, params=params)))

    async def update(self, warm_pool_id: str, pool: int, request_timeout: float | None = None) -> WarmPool:
        """Change how many sandboxes are to wait.

        Args:
            warm_pool_id: Its id.
            pool: The new number; 0 empties the pool.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
            DaytonaInvalidArgumentError: A negative size; nothing was sent.
        """
        return WarmPool(**snake(await self._call("update", request_timeout, id=warm_pool_id, pool=pool)))

    async def delete(self, warm_pool_id: str, request_timeout: float | None = None) -> None:
        """Delete a warm pool and the sandboxes that wait in it.

        Args:
            warm_pool_id: Its id.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        await self._call("delete", request_timeout, id=warm_pool_id)
