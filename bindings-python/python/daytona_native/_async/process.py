"""Running commands and programs in a sandbox."""

from __future__ import annotations

from .._results import executed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .. import _native
    from .._params import CodeRunParams
    from .._results import ExecuteResponse


class AsyncProcess:
    """The processes of one sandbox; get it as ``sandbox.process``."""

    def __init__(self, native: _native.Process) -> None:
        self._native = native

    async def exec(
        self, command: str, cwd: str | None = None, env: dict[str, str] | None = None, timeout: float | None = None
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
        return executed(await self._native.exec(command, cwd, env, timeout))

    async def code_run(
        self, code: str, params: CodeRunParams | None = None, timeout: float | None = None
    ) -> ExecuteResponse:
        """Run a whole program in the sandbox's language and wait for its end.

        Args:
            code: The program.
            params: Its arguments and environment.
            timeout: As for ``exec``.

        Returns:
            Its exit code and its output, stdout and stderr as they came.

        Raises:
            DaytonaInvalidArgumentError: A bad name in ``params.env``; nothing was sent.
            DaytonaProcessExecutionTimeoutError: It ran over ``timeout``.
            DaytonaConnectionError: The sandbox went away meanwhile.
        """
        argv, env = (params.argv, params.env) if params else (None, None)
        return executed(await self._native.code_run(code, argv, env, timeout))
