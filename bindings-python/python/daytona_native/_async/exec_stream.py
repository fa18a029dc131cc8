"""A command whose output comes as it is written."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from .. import _native


class AsyncExecStream:
    """A command that runs; get it from ``process.exec_stream``.

    Iterate over it for chunks of its output. What is not taken is held back: a command that writes
    much waits until it is. The command is killed when this is closed or no longer used.
    """

    def __init__(self, native: _native.ExecStream) -> None:
        self._native = native
        self._batch: list[_native.OutputChunk] = []

    @property
    def id(self) -> str:
        """The command's id."""
        return self._native.id

    @property
    def exit_code(self) -> int | None:
        """Its exit code, 128 + n if signal n ended it; ``None`` while it runs."""
        return self._native.exit_code

    def __aiter__(self) -> AsyncIterator[_native.OutputChunk]:
        """Return the stream."""
        return self

    async def __anext__(self) -> _native.OutputChunk:
        """Return the next chunk.

        Raises:
            DaytonaProcessExecutionTimeoutError: The command ran over its ``timeout``.
            DaytonaConnectionError: The connection broke and could not be made again; a
                ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        while not self._batch:
            batch = await self._native.next()
            if batch is None:
                raise StopAsyncIteration
            self._batch = batch[::-1]
        return self._batch.pop()

    async def wait(self) -> int:
        """Wait for the command's end; output that nobody has taken is dropped.

        Returns:
            Its exit code, 128 + n if signal n ended it.

        Raises:
            DaytonaProcessExecutionTimeoutError: It ran over its ``timeout``.
            DaytonaConnectionError: The connection broke and could not be made again; a
                ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        code: int = await self._native.wait()
        return code

    async def write_stdin(self, data: str | bytes) -> None:
        """Write to its stdin; waits while the command does not read.

        Args:
            data: Bytes, or text to be sent as UTF-8.

        Raises:
            DaytonaError: Its stdin is closed, or it has ended.
        """
        await self._native.write_stdin(data.encode() if isinstance(data, str) else data)

    async def close_stdin(self) -> None:
        """Close its stdin after all that was written."""
        await self._native.close_stdin()

    async def signal(self, name: str) -> None:
        """Send a signal to the command and all it started.

        Args:
            name: Such as ``"SIGINT"``, ``"INT"`` or ``"2"``.

        Raises:
            DaytonaInvalidArgumentError: No such signal; nothing was sent.
        """
        await self._native.signal(name)

    async def kill(self) -> None:
        """Kill the command and all it started."""
        await self._native.kill()

    async def close(self) -> None:
        """Give the command up; it is killed if it runs."""
        self._batch = []
        self._native.close()

    async def __aenter__(self) -> Self:
        """Return the stream."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Give the command up; it is killed if it runs."""
        await self.close()
