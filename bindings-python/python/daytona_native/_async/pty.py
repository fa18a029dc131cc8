"""Terminals in the sandbox."""

from __future__ import annotations

from .. import _pty
from .._callbacks import async_tell
from .._given import given, given_or_none, given_texts
from .._pty import PtyResult, PtySize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from .. import _native
    from .._pty import PtySessionInfo


class AsyncPtyHandle:
    """A connection to a terminal; get it from ``process.create_pty_session``.

    Iterate over it for the terminal's output, in bytes, unless ``on_data`` takes it.
    Its connection ends when it is no longer used, the terminal lives on.
    """

    def __init__(self, native: _native.Pty) -> None:
        self._native = native

    @property
    def session_id(self) -> str:
        """The terminal's name."""
        return self._native.session_id

    @property
    def exit_code(self) -> int | None:
        """Exit code of its shell, 128 + n if signal n ended it; ``None`` while it runs."""
        return self._native.exit_code

    @property
    def error(self) -> str | None:
        """Why it ended, where the exit code does not say all."""
        return self._native.error

    def is_connected(self) -> bool:
        """Tell whether the connection stands and the shell runs."""
        return self._native.is_connected()

    async def wait_for_connection(self, timeout: float = 10.0) -> None:
        """Wait until the terminal is ready for input; it is when ``create_pty_session`` returns.

        Args:
            timeout: Seconds.

        Raises:
            DaytonaTimeoutError: It took longer.
            DaytonaConnectionError: The connection failed.
        """
        await self._native.wait_for_connection(timeout)

    async def send_input(self, data: str | bytes) -> None:
        """Type into the terminal.

        Args:
            data: Bytes, or text to be sent as UTF-8; a newline is the Enter key.

        Raises:
            DaytonaConnectionError: Not connected any more.
        """
        await self._native.send_input(data.encode() if isinstance(data, str) else data)

    async def resize(self, pty_size: PtySize | Mapping[str, Any]) -> PtySessionInfo:
        """Change the terminal's size.

        Args:
            pty_size: The new one, as an object or as a dict with its fields.

        Returns:
            The terminal as it is now.

        Raises:
            DaytonaInvalidArgumentError: Rows or columns out of range; nothing was sent.
        """
        size = given("pty_size", pty_size, PtySize)
        return _pty.info(await self._native.resize(size.cols, size.rows))

    async def kill(self) -> None:
        """Kill the terminal's shell."""
        await self._native.kill()

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the handle."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next output.

        Raises:
            DaytonaConnectionError: The connection broke; a ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        data: bytes | None = await self._native.next()
        if data is None:
            raise StopAsyncIteration
        return data

    async def wait(self, on_data: Callable[[bytes], Any] | None = None, timeout: float | None = None) -> PtyResult:
        """Wait for the end of the terminal's shell.

        Args:
            on_data: Called with the output as it comes; without it the output is dropped.
            timeout: Seconds; ``None`` and 0 are no limit. The terminal is as before when it is over.

        Returns:
            The shell's exit code; ``None`` if ``timeout`` was over first.

        Raises:
            DaytonaConnectionError: The connection broke; a ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        from time import monotonic

        end = monotonic() + timeout if timeout else None
        while data := await self._native.next(end and max(end - monotonic(), 0)):
            await async_tell(on_data, data)
        return PtyResult(self.exit_code, self.error)

    async def disconnect(self) -> None:
        """End the connection; the terminal lives on, ``process.kill_pty_session`` ends it."""
        self._native.disconnect()

    async def __aenter__(self) -> Self:
        """Return the handle."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """End the connection; the terminal lives on."""
        await self.disconnect()


class AsyncPtys:
    """What ``process`` does about terminals."""

    _native: _native.Process

    async def create_pty_session(
        self,
        id: str,
        on_data: Callable[[bytes], Any] | None = None,  # async only
        cwd: str | None = None,
        envs: Mapping[str, str] | None = None,
        pty_size: PtySize | Mapping[str, Any] | None = None,
    ) -> AsyncPtyHandle:
        """Start a shell in a terminal and connect to it.

        Args:
            id: A name for it; unique in the sandbox.
            on_data: Called with the output as it comes; what it returns is awaited.
            cwd: Directory to start in; the sandbox's work directory where ``None``.
            envs: Added to the sandbox's environment.
            pty_size: The terminal's size, as an object or as a dict with its fields; 80 columns and 24 rows where
                ``None``.

        Returns:
            The connected terminal.

        Raises:
            DaytonaInvalidArgumentError: A size out of range or a bad name in ``envs``; nothing was sent.
            DaytonaConflictError: There is one of that name.
            DaytonaTimeoutError: It was not ready within 10 seconds.
        """
        size = given_or_none("pty_size", pty_size, PtySize)
        cols, rows = (size.cols, size.rows) if size else (None, None)
        native = await self._native.create_pty_session(id, cwd, given_texts("envs", envs), cols, rows)
        if on_data:  # async only
            from .._delivery import DeliveredPty  # async only

            return DeliveredPty(native, on_data)  # async only
        return AsyncPtyHandle(native)

    async def connect_pty_session(
        self,
        session_id: str,
        on_data: Callable[[bytes], Any] | None = None,  # async only
        *,
        replay: bool = False,
    ) -> AsyncPtyHandle:
        """Connect to a terminal that is there.

        Args:
            session_id: Its name.
            on_data: Called with the output as it comes; what it returns is awaited.
            replay: Begin with the output of before that the server keeps.

        Returns:
            The connected terminal.

        Raises:
            DaytonaNotFoundError: No such terminal.
            DaytonaTimeoutError: It was not ready within 10 seconds.
        """
        native = await self._native.connect_pty_session(session_id, replay)
        if on_data:  # async only
            from .._delivery import DeliveredPty  # async only

            return DeliveredPty(native, on_data)  # async only
        return AsyncPtyHandle(native)

    async def list_pty_sessions(self, request_timeout: float | None = None) -> list[PtySessionInfo]:
        """Ask for all terminals.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        return [_pty.info(one) for one in await self._native.list_pty_sessions(request_timeout)]

    async def get_pty_session_info(self, session_id: str, request_timeout: float | None = None) -> PtySessionInfo:
        """Ask for one terminal.

        Args:
            session_id: Its name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: No such terminal.
        """
        return _pty.info(await self._native.get_pty_session_info(session_id, request_timeout))

    async def kill_pty_session(self, session_id: str, request_timeout: float | None = None) -> None:
        """Kill a terminal's shell and all that runs in it.

        Args:
            session_id: The terminal's name.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: No such terminal.
        """
        await self._native.kill_pty_session(session_id, request_timeout)

    async def resize_pty_session(
        self, session_id: str, pty_size: PtySize | Mapping[str, Any], request_timeout: float | None = None
    ) -> PtySessionInfo:
        """Change a terminal's size.

        Args:
            session_id: Its name.
            pty_size: The new size, as an object or as a dict with its fields.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The terminal as it is now.

        Raises:
            DaytonaInvalidArgumentError: Rows or columns out of range; nothing was sent.
            DaytonaNotFoundError: No such terminal.
        """
        size = given("pty_size", pty_size, PtySize)
        answer = await self._native.resize_pty_session(session_id, size.cols, size.rows, request_timeout)
        return _pty.info(answer)
