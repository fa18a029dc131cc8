"""Running commands and programs in a sandbox."""

from __future__ import annotations

from .._given import given, given_texts
from .._results import executed, ran
from .pty import AsyncPtys
from .session import AsyncSessions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .. import _native
    from .._params import CodeRunParams
    from .._results import ExecuteResponse
    from .exec_stream import AsyncExecStream


class AsyncProcess(AsyncSessions, AsyncPtys):
    """The processes of one sandbox; get it as ``sandbox.process``."""

    def __init__(self, native: _native.Process) -> None:
        self._native = native

    async def exec(
        self, command: str, cwd: str | None = None, env: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> ExecuteResponse:
        """Run a line in the sandbox's shell and wait for its end.

        Args:
            command: The line; not blank.
            cwd: Directory to run it in; the sandbox's work directory where ``None``.
            env: Added to the sandbox's environment; names as shells accept them.
            timeout: Seconds after which it is killed, rounded up; 0 is no limit. Where ``None`` the
                server sets no limit and the answer is waited for up to an hour.

        Returns:
            Its exit code and its output, stdout and stderr as they came.

        Raises:
            DaytonaInvalidArgumentError: A blank command or a bad name in ``env``; nothing was sent.
            DaytonaProcessExecutionTimeoutError: It ran over ``timeout``.
            DaytonaConnectionError: The sandbox went away meanwhile.
        """
        return executed(await self._native.exec(command, cwd, given_texts("env", env), timeout))

    async def exec_stream(
        self, command: str, cwd: str | None = None, env: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> AsyncExecStream:
        """Start a line in the sandbox's shell; its output comes as it is written, its stdin is open.

        Args:
            command: The line; not blank.
            cwd: Directory to run it in; the sandbox's work directory where ``None``.
            env: Added to the sandbox's environment; names as shells accept them.
            timeout: Seconds after which it is killed, rounded up; 0 and ``None`` are no limit.

        Returns:
            The command; iterate over it for its output.

        Raises:
            DaytonaInvalidArgumentError: A blank command or a bad name in ``env``; nothing was sent.
            DaytonaConnectionError: The sandbox could not be reached.
        """
        from .exec_stream import AsyncExecStream

        return AsyncExecStream(await self._native.exec_stream(command, cwd, given_texts("env", env), timeout))

    async def code_run(
        self, code: str, params: CodeRunParams | Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> ExecuteResponse:
        """Run a whole program in the sandbox's language and wait for its end.

        Args:
            code: The program.
            params: Its arguments and environment, as an object or as a dict with its fields.
            timeout: As for ``exec``.

        Returns:
            Its exit code, its output, stdout and stderr as they came, and in ``artifacts.charts`` what it
            showed with matplotlib.

        Raises:
            DaytonaInvalidArgumentError: A field of ``params`` that is not known, or a bad name in ``params.env``;
                nothing was sent.
            DaytonaProcessExecutionTimeoutError: It ran over ``timeout``.
            DaytonaConnectionError: The sandbox went away meanwhile.
        """
        argv = env = None
        if params is not None:
            from .._params import CodeRunParams

            wanted = given("params", params, CodeRunParams)
            argv, env = wanted.argv, wanted.env
        return ran(await self._native.code_run(code, argv, env, timeout))
