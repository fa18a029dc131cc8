"""Sessions: long-lived shells that run commands one after another."""

from __future__ import annotations

from .. import _session
from .._callbacks import FollowedLogs
from .._given import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from .. import _native
    from .._session import (
        Command,
        Session,
        SessionCommandLogsResponse,
        SessionExecuteRequest,
        SessionExecuteResponse,
    )


class AsyncLogStream:
    """The output of a command as it comes; get it from ``process.follow_session_command_logs``.

    Iterate over it for chunks. It ends with the command, and its connection when it is no longer used.
    """

    def __init__(self, native: _native.LogStream) -> None:
        self._native = native
        self._batch: list[_native.OutputChunk] = []

    def __aiter__(self) -> AsyncIterator[_native.OutputChunk]:
        """Return the stream."""
        return self

    async def __anext__(self) -> _native.OutputChunk:
        """Return the next chunk.

        Raises:
            DaytonaConnectionError: The connection broke; a ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        while not self._batch:
            batch = await self._native.next()
            if batch is None:
                raise StopAsyncIteration
            self._batch = batch[::-1]
        return self._batch.pop()

    async def __aenter__(self) -> Self:
        """Return the stream."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """End the stream."""
        await self.close()

    async def close(self) -> None:
        """End the stream early; the command runs on."""
        self._batch = []
        self._native.close()


class AsyncSessions(FollowedLogs):
    """What ``process`` does about sessions."""

    async def create_session(self, session_id: str, request_timeout: float | None = None) -> None:
        """Start a shell that lives until it is deleted.

        Args:
            session_id: A name for it; unique in the sandbox.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaConflictError: There is one of that name.
        """
        await self._native.create_session(session_id, request_timeout)

    async def get_session(self, session_id: str, request_timeout: float | None = None) -> Session:
        """Ask for a session and its commands.

        Args:
            session_id: Its name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Its name and its commands, oldest first.

        Raises:
            DaytonaNotFoundError: No such session.
        """
        return _session.session(await self._native.get_session(session_id, request_timeout))

    async def get_entrypoint_session(self, request_timeout: float | None = None) -> Session:
        """Ask for the session that runs the entrypoint of the sandbox's image.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The session and its one command.

        Raises:
            DaytonaNotFoundError: The image has no entrypoint.
        """
        return _session.session(await self._native.get_entrypoint_session(request_timeout))

    async def list_sessions(self, request_timeout: float | None = None) -> list[Session]:
        """Ask for all sessions, that of the entrypoint left out.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        return [_session.session(one) for one in await self._native.list_sessions(request_timeout)]

    async def delete_session(self, session_id: str, request_timeout: float | None = None) -> None:
        """End a session and all that runs in it.

        Args:
            session_id: Its name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: No such session.
        """
        await self._native.delete_session(session_id, request_timeout)

    async def execute_session_command(
        self, session_id: str, req: SessionExecuteRequest | Mapping[str, Any], timeout: float | None = None
    ) -> SessionExecuteResponse:
        """Run a command in a session, which keeps its directory, variables and functions.

        Args:
            session_id: The session's name.
            req: The command, as an object or as a dict with its fields; with ``run_async`` this returns at once, and
                the command reads what :meth:`send_session_command_input` sends. Without, its stdin is empty.
            timeout: Seconds to wait for its end; 0 is no limit, ``None`` is up to an hour. The command
                itself runs on.

        Returns:
            The command's id, and its exit code and output unless it runs on.

        Raises:
            DaytonaInvalidArgumentError: A blank command, or what is no such request; nothing was sent.
            DaytonaNotFoundError: No such session.
            DaytonaSessionEndedError: The session's shell has ended, or runs nothing any more after the command.
            DaytonaTimeoutError: It ran over ``timeout``.
        """
        wanted = given("req", req, _session.SessionExecuteRequest)
        run_async = wanted.run_async if wanted.run_async is not None else wanted.var_async
        answer = await self._native.execute_session_command(
            session_id, wanted.command, run_async, wanted.suppress_input_echo, timeout
        )
        return _session.execute_response(answer)

    async def get_session_command(
        self, session_id: str, command_id: str, request_timeout: float | None = None
    ) -> Command:
        """Ask for one command of a session.

        Args:
            session_id: The session's name.
            command_id: The command's id.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The command; its exit code is ``None`` while it runs.

        Raises:
            DaytonaNotFoundError: No such session or command.
        """
        return _session.command(await self._native.get_session_command(session_id, command_id, request_timeout))

    async def get_session_command_logs(
        self, session_id: str, command_id: str, request_timeout: float | None = None
    ) -> SessionCommandLogsResponse:
        """Ask for what a command has written so far.

        Args:
            session_id: The session's name.
            command_id: The command's id.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Its output, merged and apart.

        Raises:
            DaytonaNotFoundError: No such session or command.
        """
        return _session.logs(await self._native.get_session_command_logs(session_id, command_id, request_timeout))

    async def get_entrypoint_logs(self, request_timeout: float | None = None) -> SessionCommandLogsResponse:
        """Ask for what the entrypoint has written so far.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            Its output, merged and apart.

        Raises:
            DaytonaNotFoundError: The image has no entrypoint.
        """
        return _session.logs(await self._native.get_entrypoint_logs(request_timeout))

    async def follow_session_command_logs(self, session_id: str, command_id: str) -> AsyncLogStream:
        """Follow the output of a command from its beginning to its end, chunk by chunk.

        Args:
            session_id: The session's name.
            command_id: The command's id.

        Returns:
            The chunks; iterate over it.

        Raises:
            DaytonaNotFoundError: No such session or command.
        """
        return AsyncLogStream(await self._native.follow_session_command_logs(session_id, command_id))

    async def follow_entrypoint_logs(self) -> AsyncLogStream:
        """Follow the output of the entrypoint from its beginning to its end, chunk by chunk.

        Returns:
            The chunks; iterate over it.

        Raises:
            DaytonaNotFoundError: The image has no entrypoint.
        """
        return AsyncLogStream(await self._native.follow_entrypoint_logs())

    async def send_session_command_input(
        self, session_id: str, command_id: str, data: str, request_timeout: float | None = None
    ) -> None:
        """Write to the stdin of a command that was started with ``run_async`` and runs.

        Args:
            session_id: The session's name.
            command_id: The command's id.
            data: The text; a newline is added where it ends without one.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: No such session or command.
            DaytonaCommandAlreadyCompletedError: The command has ended.
            DaytonaValidationError: It was started without ``run_async``, and its stdin is empty.
        """
        await self._native.send_session_command_input(session_id, command_id, data, request_timeout)
