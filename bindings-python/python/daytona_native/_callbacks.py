"""Callbacks, plain ones and those that return something to await."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from . import _native
    from ._protocols import OutputHandler

    _T = TypeVar("_T")


def tell(callback: Callable[[_T], object] | None, value: _T) -> None:
    """Call what is there to be called."""
    if callback:
        callback(value)


async def async_tell(callback: Callable[[_T], object] | None, value: _T) -> None:
    """Call what is there to be called, and await what it returns."""
    if callback:
        result: Any = callback(value)
        if hasattr(result, "__await__"):
            await result


async def deliver_logs(
    stream: _native.LogStream, on_stdout: Callable[[str], object], on_stderr: Callable[[str], object]
) -> None:
    """Hand all of a log over as text, and end the stream, however that ends."""
    try:
        while (batch := await stream.next()) is not None:
            for chunk in batch:
                if text := chunk.text:
                    result: Any = (on_stdout if chunk.stream == "stdout" else on_stderr)(text)
                    if hasattr(result, "__await__"):
                        await result
    finally:
        stream.close()


class FollowedLogs:
    """The two calls that are coroutines in both clients."""

    _native: _native.Process

    async def get_session_command_logs_async(
        self, session_id: str, command_id: str, on_stdout: OutputHandler[str], on_stderr: OutputHandler[str]
    ) -> None:
        """Follow the output of a command from its beginning to its end.

        Args:
            session_id: The session's name.
            command_id: The command's id.
            on_stdout: Called with text of stdout as it comes; what it returns is awaited.
            on_stderr: The same for stderr.

        Raises:
            DaytonaNotFoundError: No such session or command.
            DaytonaConnectionError: The connection broke; a ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        stream = await self._native.follow_session_command_logs(session_id, command_id, True)
        await deliver_logs(stream, on_stdout, on_stderr)

    async def get_entrypoint_logs_async(self, on_stdout: OutputHandler[str], on_stderr: OutputHandler[str]) -> None:
        """Follow the output of the entrypoint from its beginning to its end.

        Args:
            on_stdout: Called with text of stdout as it comes; what it returns is awaited.
            on_stderr: The same for stderr.

        Raises:
            DaytonaNotFoundError: The image has no entrypoint.
            DaytonaConnectionError: The connection broke; a ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        await deliver_logs(await self._native.follow_entrypoint_logs(True), on_stdout, on_stderr)
