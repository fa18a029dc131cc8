"""Snapshots: files that sandboxes are made from."""

from __future__ import annotations

from .. import _snapshot
from .._callbacks import async_tell
from .._given import given
from .._progress import AsyncUploadReport, of_contexts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from .. import _native
    from .._results import ContextUploadProgress
    from .._snapshot import CreateSnapshotParams, PaginatedSnapshots, Snapshot


class AsyncBuildLog:
    """The log of a build as it is written; get it from ``daytona.snapshot.build_logs``.

    Iterate over it for text. It ends with the build, and its connection when it is no longer used.
    """

    def __init__(self, native: _native.BuildLog) -> None:
        self._native = native
        self._batch: list[str] = []

    def __aiter__(self) -> AsyncIterator[str]:
        """Return the log."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece of text, as it came.

        Raises:
            DaytonaNotFoundError: The snapshot was not built, or has no log.
            DaytonaConnectionError: The connection broke again and again.
        """
        while not self._batch:
            batch = await self._native.next()
            if batch is None:
                raise StopAsyncIteration
            self._batch = batch[::-1]
        return self._batch.pop()

    async def __aenter__(self) -> Self:
        """Return the log."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """End the log."""
        await self.close()

    async def close(self) -> None:
        """End the log early; the build goes on."""
        self._batch = []
        self._native.close()


class AsyncSnapshotService:
    """The snapshots of one API; get it from ``daytona.snapshot``.

    ``create`` makes new ones from images, ``sandbox.create_snapshot`` from sandboxes.
    """

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

    async def create(
        self,
        params: CreateSnapshotParams | Mapping[str, Any],
        *,
        on_logs: Callable[[str], object] | None = None,
        timeout: float | None = 0,
        on_upload_progress: Callable[[ContextUploadProgress], object] | None = None,
    ) -> Snapshot:
        """Make a snapshot from an image, which is pulled or built for it, and wait until it is active.

        Args:
            params: What it is to be like, as an object or as a dict with its fields.
            on_logs: Called with each state and with lines of the build's log as they come; what it returns is awaited.
            timeout: Seconds until it must be there, uploads included. 0, the default, is no limit, as builds may
                take long; every request within has one.
            on_upload_progress: Called with what of the image's local files has been uploaded; what it returns is
                awaited.

        Raises:
            DaytonaInvalidArgumentError: Parameters that cannot be right; nothing was sent.
            DaytonaNotFoundError: A local file that the image copies is not there; nothing was sent.
            DaytonaConflictError: The name is taken.
            DaytonaBuildFailedError: The image could not be built, with the reason and the end of the log.
            DaytonaTimeoutError: It took longer; it may still be being made.
        """
        wanted = given("params", params, _snapshot.CreateSnapshotParams)
        report = AsyncUploadReport(on_upload_progress, of_contexts)
        async with report:
            creation = await self._native.begin(
                wanted, on_logs is not None, timeout, report if on_upload_progress else None
            )
        try:
            await report.finish()
            if on_logs is not None:
                while (lines := await creation.next()) is not None:
                    for line in lines:
                        await async_tell(on_logs, line)
            return _snapshot.snapshot(await creation.finish())
        finally:
            creation.close()

    async def build_logs(self, snapshot: Snapshot | Mapping[str, Any] | str) -> AsyncBuildLog:
        """Follow the log of a snapshot's build from its beginning to its end.

        Args:
            snapshot: It, or its id or name.

        Returns:
            Its text, piece by piece; iterate over it.

        Raises:
            DaytonaNotFoundError: There is no such snapshot.
        """
        return AsyncBuildLog(await self._native.build_logs(_snapshot.name_of(snapshot)))

    async def deactivate(
        self, snapshot: Snapshot | Mapping[str, Any] | str, request_timeout: float | None = None
    ) -> None:
        """Take a snapshot out of use; ``activate`` brings it back.

        Args:
            snapshot: It, or its id or name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
            DaytonaBadRequestError: It is not active.
        """
        await self._native.deactivate(_snapshot.name_of(snapshot), request_timeout)

    async def delete(self, snapshot: Snapshot | Mapping[str, Any] | str, request_timeout: float | None = None) -> None:
        """Delete a snapshot; sandboxes that were made from it live on.

        Args:
            snapshot: It, or its id or name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
            DaytonaForbiddenError: It is everybody's.
        """
        await self._native.delete(_snapshot.name_of(snapshot), request_timeout)

    async def activate(
        self, snapshot: Snapshot | Mapping[str, Any] | str, request_timeout: float | None = None
    ) -> Snapshot:
        """Make an inactive snapshot usable again.

        Args:
            snapshot: It, or its id or name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
            DaytonaBadRequestError: It is not inactive.
        """
        return _snapshot.snapshot(await self._native.activate(_snapshot.name_of(snapshot), request_timeout))
