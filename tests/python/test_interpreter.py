"""The code interpreter: what the shared cases cannot express."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from conftest import Program, Server
from daytona_native import (
    AsyncDaytona,
    AsyncSandbox,
    DaytonaNotFoundError,
    ExecutionError,
    ExecutionResult,
    OutputMessage,
    Result,
    Sandbox,
)


async def asynchronously(server: Server, sandbox: Sandbox) -> AsyncSandbox:
    return await AsyncDaytona(server.config).get(sandbox.id)


def test_models() -> None:
    assert ExecutionResult() == ExecutionResult(stdout="", stderr="", error=None, results=None)
    assert ExecutionError(name="A", value="b").traceback == ""
    result = Result(data={"text/plain": "t", "text/html": "h", "image/png": "cA==", "application/json": [1]})
    assert (result.text, result.html, result.png, result.json, result.svg) == ("t", "h", "cA==", [1], None)
    assert not result.is_main


def test_callbacks(shared_sandbox: Sandbox) -> None:
    seen: list[Any] = []
    code = "import sys; print('a', flush=True); print('b', file=sys.stderr, flush=True); 1 / 0"
    result = shared_sandbox.code_interpreter.run_code(
        code, on_stdout=seen.append, on_stderr=seen.append, on_error=seen.append
    )
    assert (result.stdout, result.stderr, result.results) == ("a\n", "b\n", None)
    assert result.error
    assert (result.error.name, result.error.value) == ("ZeroDivisionError", "division by zero")
    assert "1 / 0" in result.error.traceback
    assert {type(one) for one in seen} == {OutputMessage, ExecutionError}
    assert "".join(sorted(one.output for one in seen if isinstance(one, OutputMessage))) == "a\nb\n"
    assert seen[-1] == result.error


def test_coroutines_are_awaited(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        box = await asynchronously(server, shared_sandbox)
        seen: list[str] = []

        async def out(message: OutputMessage) -> None:
            await asyncio.sleep(0)
            seen.append(message.output)

        async def value(result: Result) -> None:
            await asyncio.sleep(0)
            seen.append(f"={result.text}")

        result = await box.code_interpreter.run_code("print('a')\n6 * 7", on_stdout=out, on_result=value)
        assert "".join(seen) == "a\n=42"
        assert [(one.text, one.is_main) for one in result.results or ()] == [("42", True)]

    asyncio.run(main())


def test_results(shared_sandbox: Sandbox) -> None:
    run = shared_sandbox.code_interpreter.run_code
    assert run("1 + 1").results is None
    assert run("x = 1", results=True).results == []
    found = run("{'a': [1.5, None]}", results=True).results
    assert found
    assert (found[0].text, found[0].json) == ("{'a': [1.5, None]}", {"a": [1.5, None]})


def test_contexts(shared_sandbox: Sandbox) -> None:
    interpreter = shared_sandbox.code_interpreter
    assert interpreter is shared_sandbox.code_interpreter
    context = interpreter.create_context(cwd="/tmp")
    assert (context.cwd, context.language, context.active) == ("/tmp", "python", True)
    assert context.id in [one.id for one in interpreter.list_contexts()]
    interpreter.run_code("mine = 1", context=context)
    assert interpreter.run_code("print(mine)", context=context).stdout == "1\n"
    error = interpreter.run_code("print(mine)").error
    assert error
    assert error.name == "NameError"
    interpreter.delete_context(context)
    with pytest.raises(DaytonaNotFoundError):
        interpreter.delete_context(context)


def test_a_callback_that_raises_interrupts(shared_sandbox: Sandbox) -> None:
    interpreter = shared_sandbox.code_interpreter
    context = interpreter.create_context()

    def refuse(message: OutputMessage) -> None:
        raise LookupError(message.output)

    code = """
import time
try:
    print("up", flush=True)
    time.sleep(300)
except KeyboardInterrupt:
    state = "interrupted"
"""
    with pytest.raises(LookupError, match="up"):
        interpreter.run_code(code, context=context, on_stdout=refuse)
    assert interpreter.run_code("print(state)", context=context, timeout=10).stdout == "interrupted\n"
    interpreter.delete_context(context)


def test_a_cancelled_task_interrupts(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        box = await asynchronously(server, shared_sandbox)
        context = await box.code_interpreter.create_context()
        begun = asyncio.Event()
        code = "import time\nprint('up', flush=True)\ntime.sleep(300)"
        run = box.code_interpreter.run_code(code, context=context, on_stdout=lambda _: begun.set())
        task = asyncio.create_task(run)
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result = await asyncio.wait_for(box.code_interpreter.run_code("print('next')", context=context), 10)
        assert result.stdout == "next\n"
        await box.code_interpreter.delete_context(context)

    asyncio.run(main())


def test_control_c_interrupts(server: Server, shared_sandbox: Sandbox) -> None:
    code = """
context = box.code_interpreter.create_context()
try:
    run = "import time; print('up', flush=True); time.sleep(300)"
    box.code_interpreter.run_code(run, context=context, on_stdout=lambda _: print("ready", flush=True))
except KeyboardInterrupt:
    print(box.code_interpreter.run_code("print('next')", context=context, timeout=10).stdout, end="")
    box.code_interpreter.delete_context(context)
"""
    run = Program(server, shared_sandbox, code)
    run.ready()
    run.interrupt()
    assert run.end() == (0, "next\n", "")


def test_contexts_run_side_by_side(shared_sandbox: Sandbox) -> None:
    interpreter = shared_sandbox.code_interpreter
    contexts = [interpreter.create_context() for _ in range(3)]
    barrier = threading.Barrier(3)
    outputs: dict[int, str] = {}

    def run(n: int) -> None:
        barrier.wait()
        outputs[n] = interpreter.run_code(f"for i in range(200): print({n}, i)", context=contexts[n]).stdout

    threads = [threading.Thread(target=run, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outputs == {n: "".join(f"{n} {i}\n" for i in range(200)) for n in range(3)}
    for context in contexts:
        interpreter.delete_context(context)
