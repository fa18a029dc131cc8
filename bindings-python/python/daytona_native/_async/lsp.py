"""Language servers in a sandbox."""

from __future__ import annotations

from .. import _lsp
from .._given import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .. import _native
    from .._lsp import CompletionList, LspCompletionPosition, LspSymbol


class AsyncLspServer:
    """The language server of one project; get it from ``sandbox.create_lsp_server``.

    Relative paths of files start from the project.
    """

    def __init__(self, native: _native.LspServer) -> None:
        self._native = native

    async def start(self, request_timeout: float | None = None) -> None:
        """Start it and wait until it is ready; fine if it runs.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's, or 3 minutes.

        Raises:
            DaytonaServiceUnavailableError: It is not installed in the sandbox; the message says how to.
            DaytonaFileNotFoundError: No such folder.
        """
        await self._native.start(request_timeout)

    async def stop(self, request_timeout: float | None = None) -> None:
        """Stop it and all that it has started; fine if it does not run.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        await self._native.stop(request_timeout)

    async def did_open(self, path: str, request_timeout: float | None = None) -> None:
        """Tell it that a file is being worked on; call it again when the file has changed.

        Args:
            path: The file.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaLspServerNotInitializedError: It does not run, or has ended: start it.
            DaytonaFileNotFoundError: No such file.
        """
        await self._native.did_open(path, request_timeout)

    async def did_close(self, path: str, request_timeout: float | None = None) -> None:
        """Tell it that a file is not being worked on any more.

        Args:
            path: The file.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaLspServerNotInitializedError: It does not run, or has ended: start it.
        """
        await self._native.did_close(path, request_timeout)

    async def document_symbols(self, path: str, request_timeout: float | None = None) -> list[LspSymbol]:
        """Tell what a file defines.

        Args:
            path: The file.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Classes, functions, variables and so on, outer ones before what is in them.

        Raises:
            DaytonaLspServerNotInitializedError: It does not run, or has ended: start it.
            DaytonaFileNotFoundError: No such file.
        """
        return _lsp.symbols(await self._native.document_symbols(path, request_timeout))

    async def workspace_symbols(self, query: str, request_timeout: float | None = None) -> list[LspSymbol]:
        """Do as ``sandbox_symbols``, which is to be used instead.

        Args:
            query: A part of the name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        from .._warnings import warn

        warn("workspace_symbols is deprecated; use sandbox_symbols", DeprecationWarning)
        return await self.sandbox_symbols(query, request_timeout)

    async def sandbox_symbols(self, query: str, request_timeout: float | None = None) -> list[LspSymbol]:
        """Tell what the whole project defines.

        Args:
            query: A part of the name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            What has such a name.

        Raises:
            DaytonaLspServerNotInitializedError: It does not run, or has ended: start it.
            DaytonaUnsupportedError: This language server cannot do that.
        """
        return _lsp.symbols(await self._native.sandbox_symbols(query, request_timeout))

    async def completions(
        self,
        path: str,
        position: LspCompletionPosition | Mapping[str, Any],
        request_timeout: float | None = None,
    ) -> CompletionList:
        """Tell what may come at a place in a file.

        Args:
            path: The file.
            position: The place, as an object or as a dict with its fields.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The completions.

        Raises:
            DaytonaLspServerNotInitializedError: It does not run, or has ended: start it.
            DaytonaFileNotFoundError: No such file.
        """
        place = given("position", position, _lsp.LspCompletionPosition)
        found = await self._native.completions(path, place.line, place.character, request_timeout)
        return _lsp.completions(found)
