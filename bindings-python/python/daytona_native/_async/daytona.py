"""The client."""

from __future__ import annotations

import os

from .. import _native
from .._callbacks import async_tell
from .._given import given_or_none, given_sandbox, given_sandbox_params
from .sandbox import AsyncSandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from .._params import (
        CreateSandboxBaseParams,
        CreateSandboxFromImageParams,
        CreateSandboxFromSnapshotParams,
        DaytonaConfig,
        ListSandboxesQuery,
    )
    from .._results import ContextUploadProgress
    from .api import AsyncApi
    from .secret import AsyncSecretService
    from .snapshot import AsyncSnapshotService
    from .volume import AsyncVolumeService
    from .warm_pool import AsyncWarmPoolService

_ASYNCHRONOUS = True
_SERVER_BINARY = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bin", "daytona-native")  # noqa: PTH118, PTH120


class AsyncDaytona:
    """A client of one Daytona API. Making one sends nothing.

    Args:
        config: How to reach it, as an object or as a dict with its fields; what is not given is looked up (see
            ``DaytonaConfig``).

    Raises:
        DaytonaAuthenticationError: No credentials found.
        DaytonaInvalidArgumentError: A field that is not known, or a value of another type or out of range.
    """

    def __init__(self, config: DaytonaConfig | Mapping[str, Any] | None = None) -> None:
        if config is not None:
            from .._params import DaytonaConfig

            config = given_or_none("config", config, DaytonaConfig)
        self._native: _native.Daytona | None = _native.Daytona(_ASYNCHRONOUS, config, _SERVER_BINARY)

    @classmethod
    def local(cls, data_dir: str | os.PathLike[str] | None = None, *, runtime: str | None = None) -> Self:
        """Make a client of a local server, which needs no account.

        The server is started by the first call, shared by all clients of the same user and data
        directory, and stops when the last of their processes ends. A ``UserWarning`` says so once if it
        isolates nothing.

        Args:
            data_dir: Where it keeps its sandboxes; ``$XDG_DATA_HOME/daytona-native`` where ``None``.
            runtime: How it has to make sandboxes: ``"ns"``, ``"docker"``, or ``"process"``, which isolates
                nothing. The server is started so; the first call raises ``DaytonaConflictError`` if one runs
                with another runtime, and ``DaytonaError`` if it cannot be started so. ``None`` takes what
                there is.

        Raises:
            DaytonaError: Its binary is neither in the package nor on ``PATH``.
            DaytonaInvalidArgumentError: There is no such runtime.
        """
        from .._params import DaytonaConfig

        self = cls.__new__(cls)
        config = DaytonaConfig(api_url="local")
        self._native = _native.Daytona(_ASYNCHRONOUS, config, _SERVER_BINARY, data_dir, runtime)
        return self

    async def runtime(self) -> str | None:
        """Tell how the local server makes sandboxes: ``"ns"``, ``"docker"``, or ``"process"``, which isolates nothing.

        Starts the server if none runs.

        Returns:
            The runtime; ``None`` for a server that is given by its URL.

        Raises:
            DaytonaConflictError: It has another runtime than ``local`` was called with.
        """
        runtime: str | None = await self._client().runtime()
        return runtime

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close the client."""
        await self.close()

    async def close(self) -> None:
        """Give up its connections; sandboxes that came from it can still be used.

        A client that is not closed gives them up when it is no longer used.
        """
        self._native = None
        if not _ASYNCHRONOUS:
            _native.settle()

    def _client(self) -> _native.Daytona:
        if self._native is None:
            from .._errors import DaytonaError

            raise DaytonaError("the client is closed")
        return self._native

    @property
    def snapshot(self) -> AsyncSnapshotService:
        """Its snapshots, which sandboxes are made from."""
        from .snapshot import AsyncSnapshotService

        return AsyncSnapshotService(self._client().snapshot())

    @property
    def volume(self) -> AsyncVolumeService:
        """Volumes: storage that sandboxes share and that outlives them."""
        from .volume import AsyncVolumeService

        return AsyncVolumeService(self._client)

    @property
    def secret(self) -> AsyncSecretService:
        """Secrets: values that sandboxes use without seeing them."""
        from .secret import AsyncSecretService

        return AsyncSecretService(self._client)

    @property
    def warm_pool(self) -> AsyncWarmPoolService:
        """Warm pools: started sandboxes that wait for who creates one."""
        from .warm_pool import AsyncWarmPoolService

        return AsyncWarmPoolService(self._client)

    @property
    def api(self) -> AsyncApi:
        """Administration, and any other operation of the API."""
        from .api import AsyncApi

        return AsyncApi(self._client)

    async def create(
        self,
        params: CreateSandboxFromSnapshotParams
        | CreateSandboxFromImageParams
        | CreateSandboxBaseParams
        | Mapping[str, Any]
        | None = None,
        *,
        timeout: float = 60,
        on_snapshot_create_logs: Callable[[str], object] | None = None,
        on_upload_progress: Callable[[ContextUploadProgress], object] | None = None,
    ) -> AsyncSandbox:
        """Create a sandbox and wait until it has started.

        A call that is cancelled or interrupted leaves no sandbox behind: what the server has made of it, or still
        makes, is deleted.

        Args:
            params: What it is to be like, as an object or as a dict with its fields; the server's defaults where
                ``None``.
            timeout: Seconds until it must have started, uploads and builds included; 0 is no limit.
            on_snapshot_create_logs: Called with lines of the log of the image's build as they come, where there
                is a build; what it returns is awaited.
            on_upload_progress: Called with what of the image's local files has been uploaded; what it returns is
                awaited.

        Returns:
            The sandbox.

        Raises:
            DaytonaInvalidArgumentError: Parameters that cannot be right, or that are not known; nothing was sent.
            DaytonaTimeoutError: It took longer. ``sandbox_id`` names it if the server has told that by then: it stays,
                and is yours to follow or delete. Otherwise it is deleted.
            DaytonaNotFoundError: A local file that the image copies is not there; nothing was sent.
            DaytonaBuildFailedError: The image could not be built, with the reason and the end of the log.
            DaytonaError: It could not be started, with the reason.
        """
        wanted = given_sandbox_params(params)
        if on_snapshot_create_logs is None and on_upload_progress is None:
            return AsyncSandbox(await self._client().create(wanted, timeout))
        from .._progress import AsyncUploadReport, of_contexts

        report = AsyncUploadReport(on_upload_progress, of_contexts)
        async with report:
            creation = await self._client().begin_create(
                wanted, on_snapshot_create_logs is not None, timeout, report if on_upload_progress else None
            )
        try:
            await report.finish()
            while (lines := await creation.next()) is not None:
                for line in lines:
                    await async_tell(on_snapshot_create_logs, line)
            return AsyncSandbox(await creation.finish())
        finally:
            creation.close()

    async def get(self, sandbox_id_or_name: str, request_timeout: float | None = None) -> AsyncSandbox:
        """Find a sandbox.

        Args:
            sandbox_id_or_name: Its id or name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The sandbox.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        return AsyncSandbox(await self._client().get(sandbox_id_or_name, request_timeout))

    def list(
        self, query: ListSandboxesQuery | Mapping[str, Any] | None = None, request_timeout: float | None = None
    ) -> AsyncIterator[AsyncSandbox]:
        """Yield the sandboxes that match, page after page.

        Args:
            query: Which, as an object or as a dict with its fields; all where ``None``. Its ``limit`` is the size of
                a page.
            request_timeout: Seconds to wait for each page; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A limit below 1, or what is no query; nothing was sent.
            DaytonaBadRequestError: A value that the server refuses.
        """
        wanted = None
        if query is not None:
            from .._params import ListSandboxesQuery

            wanted = given_or_none("query", query, ListSandboxesQuery)
        return self._pages(wanted, request_timeout)

    async def _pages(
        self, query: ListSandboxesQuery | None, request_timeout: float | None
    ) -> AsyncIterator[AsyncSandbox]:
        client = self._client()
        cursor: str | None = None
        while True:
            sandboxes, cursor = await client.list(query, cursor, request_timeout)
            for sandbox in sandboxes:
                yield AsyncSandbox(sandbox)
            if cursor is None:
                return

    async def start(self, sandbox: AsyncSandbox, timeout: float = 60) -> None:
        """Start a sandbox; the same as ``sandbox.start``."""
        await given_sandbox(sandbox, AsyncSandbox).start(timeout)

    async def stop(self, sandbox: AsyncSandbox, timeout: float = 60) -> None:
        """Stop a sandbox; the same as ``sandbox.stop``."""
        await given_sandbox(sandbox, AsyncSandbox).stop(timeout)

    async def delete(self, sandbox: AsyncSandbox, timeout: float = 60, wait: bool = False) -> None:
        """Delete a sandbox; the same as ``sandbox.delete``."""
        await given_sandbox(sandbox, AsyncSandbox).delete(timeout, wait)
