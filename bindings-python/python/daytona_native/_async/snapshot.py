"""Snapshots: files that sandboxes are made from."""

from __future__ import annotations

from .. import _snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .. import _native
    from .._snapshot import PaginatedSnapshots, Snapshot


class AsyncSnapshotService:
    """The snapshots of one API; get it from ``daytona.snapshot``. ``sandbox.create_snapshot`` makes new ones."""

    def __init__(self, native: _native.SnapshotService) -> None:
        self._native = native

    async def list(
        self,
        page: int | None = None,
        limit: int | None = None,
        source_sandbox_id: str | None = None,
        request_timeout: float | None = None,
    ) -> PaginatedSnapshots:
        """Return one page of the snapshots.

        Args:
            page: Its number, from 1; the first where ``None``.
            limit: Snapshots a page, from 1. Servers default to 100.
            source_sandbox_id: Only those that were made from the sandbox with this id.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A page or limit below 1; nothing was sent.
        """
        return _snapshot.page(await self._native.list(page, limit, source_sandbox_id, request_timeout))

    async def get(self, name: str, request_timeout: float | None = None) -> Snapshot:
        """Find a snapshot.

        Args:
            name: Its id or name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        return _snapshot.snapshot(await self._native.get(name, request_timeout))

    async def delete(self, snapshot: Snapshot | str, request_timeout: float | None = None) -> None:
        """Delete a snapshot; sandboxes that were made from it live on.

        Args:
            snapshot: It, or its id or name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
            DaytonaForbiddenError: It is everybody's.
        """
        await self._native.delete(_snapshot.name_of(snapshot), request_timeout)

    async def activate(self, snapshot: Snapshot | str, request_timeout: float | None = None) -> Snapshot:
        """Make an inactive snapshot usable again.

        Args:
            snapshot: It, or its id or name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
            DaytonaBadRequestError: It is not inactive.
        """
        return _snapshot.snapshot(await self._native.activate(_snapshot.name_of(snapshot), request_timeout))
