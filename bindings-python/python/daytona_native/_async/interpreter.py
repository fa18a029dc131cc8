"""The code interpreter: Python code that keeps its variables from one run to the next."""

from __future__ import annotations

from .. import _interpreter
from .._callbacks import async_tell
from .._given import given_id, given_texts
from .._interpreter import ExecutionError, ExecutionResult, InterpreterContext, OutputMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .. import _native
    from .._interpreter import Result
    from .._protocols import OutputHandler


def _context_id(context: object) -> str:
    return given_id("context", context, InterpreterContext, "create_context and list_contexts give one")


class AsyncCodeInterpreter:
    """Runs Python code in contexts; get it as ``sandbox.code_interpreter``."""

    def __init__(self, native: _native.CodeInterpreter) -> None:
        self._native = native

    async def run_code(
        self,
        code: str,
        *,
        context: InterpreterContext | Mapping[str, Any] | None = None,
        on_stdout: OutputHandler[OutputMessage] | None = None,
        on_stderr: OutputHandler[OutputMessage] | None = None,
        on_error: OutputHandler[ExecutionError] | None = None,
        envs: Mapping[str, str] | None = None,
        timeout: float | None = None,
        results: bool = False,
        on_result: Callable[[Result], Any] | None = None,
    ) -> ExecutionResult:
        """Run Python code and wait for its end.

        Ending the call early (Ctrl-C, a cancelled task, a callback that raises) interrupts the code
        as Ctrl-C does.

        Args:
            code: The code; not empty.
            context: Where its variables live; the sandbox's default context where ``None``.
            on_stdout: Called with each piece of stdout as it comes.
            on_stderr: The same for stderr.
            on_error: Called with what the code raises.
            envs: In the environment while this code runs.
            timeout: Seconds, rounded up; 0 is no limit, ``None`` the server's 10 minutes.
            results: Return the value of the last expression and what the code displays.
            on_result: Called with each of these as it comes; asks for them too.

        Returns:
            Its output, what it raised, and its results where they were asked for.

        Raises:
            DaytonaInvalidArgumentError: Empty code or a bad name in ``envs``; nothing was sent.
            DaytonaProcessExecutionTimeoutError: It ran over ``timeout``. The message says what became of the state of
                its context: kept where the code ended when it was interrupted, else lost.
            DaytonaNotFoundError: No such context.
            DaytonaConnectionError: The connection broke, or the interpreter ended and the state with it; a
                ``DaytonaSandboxDiedError`` if the sandbox went away.
        """
        wanted = results or on_result is not None
        stdout: list[str] = []
        stderr: list[str] = []
        found: list[Result] = []
        error = None
        context_id = None if context is None else _context_id(context)
        run = await self._native.run_code(code, context_id, given_texts("envs", envs), timeout, wanted)
        try:
            while (batch := await run.next()) is not None:
                for kind, *values in batch:
                    if kind == "stdout":
                        stdout += values
                        if on_stdout:
                            await async_tell(on_stdout, OutputMessage(output=values[0]))
                    elif kind == "stderr":
                        stderr += values
                        if on_stderr:
                            await async_tell(on_stderr, OutputMessage(output=values[0]))
                    elif kind == "error":
                        name, value, traceback = values
                        error = ExecutionError(name=name, value=value, traceback=traceback)
                        await async_tell(on_error, error)
                    elif kind == "result":
                        found.append(_interpreter.result(*values))
                        await async_tell(on_result, found[-1])
        finally:
            run.close()
        return ExecutionResult(
            stdout="".join(stdout), stderr="".join(stderr), error=error, results=found if wanted else None
        )

    async def create_context(self, cwd: str | None = None, request_timeout: float | None = None) -> InterpreterContext:
        """Make a context of its own: its variables are apart from those of others.

        Args:
            cwd: Directory that its code runs in; the sandbox's work directory where ``None``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The context.
        """
        return _interpreter.context(await self._native.create_context(cwd, request_timeout))

    async def list_contexts(self, request_timeout: float | None = None) -> list[InterpreterContext]:
        """Ask for all contexts but the default one.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        return [_interpreter.context(one) for one in await self._native.list_contexts(request_timeout)]

    async def delete_context(
        self, context: InterpreterContext | Mapping[str, Any], request_timeout: float | None = None
    ) -> None:
        """End a context and what runs in it.

        Args:
            context: The context.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: No such context.
        """
        await self._native.delete_context(_context_id(context), request_timeout)
