"""Sessions: what the shared cases cannot express."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from conftest import Fake, Program, Server, eventually, forked, sockets
from daytona_native import (
    AsyncDaytona,
    AsyncSandbox,
    DaytonaError,
    DaytonaNotFoundError,
    LogStream,
    OutputChunk,
    Sandbox,
    SessionExecuteRequest,
)

# Writes, waits for a line, writes again.
TWO_PARTS = "echo one; echo two >&2; read line; echo $line"


def start(sandbox: Sandbox, command: str) -> tuple[str, str]:
    session = f"s{uuid4().hex}"
    sandbox.process.create_session(session)
    request = SessionExecuteRequest(command=command, run_async=True, suppress_input_echo=True)
    return session, sandbox.process.execute_session_command(session, request).cmd_id


async def asynchronously(server: Server, sandbox: Sandbox) -> AsyncSandbox:
    return await AsyncDaytona(server.config).get(sandbox.id)


def test_a_request_is_as_the_official_one() -> None:
    request = SessionExecuteRequest(command="ls", run_async=True)
    assert request.to_dict() == {"command": "ls", "runAsync": True}
    assert SessionExecuteRequest.model_validate({"command": "ls"}).run_async is None
    with pytest.warns(DeprecationWarning, match="run_async") as warnings:
        request = SessionExecuteRequest(command="ls", var_async=True)
    assert warnings[0].filename == __file__
    assert (request.run_async, request.var_async) == (True, None)
    with pytest.warns(DeprecationWarning, match="run_async"):
        request = SessionExecuteRequest(command="ls", run_async=True, var_async=True)
    assert request.to_dict() == {"command": "ls", "runAsync": True, "async": True}


def test_results_are_models(shared_sandbox: Sandbox) -> None:
    process = shared_sandbox.process
    session = f"s{uuid4().hex}"
    process.create_session(session)
    answer = process.execute_session_command(session, SessionExecuteRequest(command="echo a; echo b >&2"))
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, "a\n", "b\n")
    assert answer.to_dict()["cmdId"] == answer.cmd_id
    found = process.get_session(session)
    assert found.commands == [process.get_session_command(session, answer.cmd_id)]
    assert found.model_dump()["commands"][0]["exit_code"] == 0
    assert session in [one.session_id for one in process.list_sessions()]
    assert process.get_session_command_logs(session, answer.cmd_id).stdout == "a\n"
    process.delete_session(session)
    with pytest.raises(DaytonaNotFoundError):
        process.get_session(session)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("coroutines", [False, True])
def test_callbacks(server: Server, shared_sandbox: Sandbox, asynchronous: bool, coroutines: bool) -> None:
    session, command = start(shared_sandbox, TWO_PARTS)
    seen: list[tuple[str, str]] = []

    def callback(name: str) -> Callable[[str], Any]:
        def plain(text: str) -> None:
            seen.append((name, text))
            if text == "one\n":
                shared_sandbox.process.send_session_command_input(session, command, "three")

        async def coroutine(text: str) -> None:
            await asyncio.sleep(0)
            plain(text)

        return coroutine if coroutines else plain

    async def main() -> None:
        box: Any = await asynchronously(server, shared_sandbox) if asynchronous else shared_sandbox
        await box.process.get_session_command_logs_async(session, command, callback("out"), callback("err"))

    asyncio.run(main())
    assert sorted(seen) == [("err", "two\n"), ("out", "one\n"), ("out", "three\n")]


def test_a_callback_that_raises_ends_the_stream(shared_sandbox: Sandbox) -> None:
    session, command = start(shared_sandbox, "echo one; sleep 300")

    async def main() -> None:
        before = sockets()

        def refuse(text: str) -> None:
            raise LookupError(text)

        with pytest.raises(LookupError, match="one"):
            await shared_sandbox.process.get_session_command_logs_async(session, command, refuse, refuse)
        gc.collect()
        await asyncio.get_running_loop().run_in_executor(None, eventually, lambda: sockets() <= before)

    asyncio.run(main())
    shared_sandbox.process.delete_session(session)


def test_iterating(shared_sandbox: Sandbox) -> None:
    session, command = start(shared_sandbox, TWO_PARTS)
    chunks: list[OutputChunk] = []
    with shared_sandbox.process.follow_session_command_logs(session, command) as stream:
        for chunk in stream:
            chunks.append(chunk)
            if chunk.text.startswith("one"):
                shared_sandbox.process.send_session_command_input(session, command, "three\n")
        assert list(stream) == []
    assert b"".join(chunk.data for chunk in chunks if chunk.stream == "stdout") == b"one\nthree\n"
    assert "".join(chunk.text for chunk in chunks if chunk.stream == "stderr") == "two\n"
    assert repr(chunks[0]).startswith("OutputChunk(stream='std")


def test_iterating_asynchronously(server: Server, shared_sandbox: Sandbox) -> None:
    session, command = start(shared_sandbox, TWO_PARTS)

    async def main() -> str:
        box = await asynchronously(server, shared_sandbox)
        text = ""
        async with await box.process.follow_session_command_logs(session, command) as stream:
            async for chunk in stream:
                text += chunk.text
                if chunk.text.startswith("one"):
                    await box.process.send_session_command_input(session, command, "three\n")
        return text

    assert sorted(asyncio.run(main()).splitlines()) == ["one", "three", "two"]


def test_what_is_not_there_is_said_at_once(shared_sandbox: Sandbox) -> None:
    with pytest.raises(DaytonaNotFoundError):
        shared_sandbox.process.follow_session_command_logs("no-such-session", "no-such-command")


def test_a_cancelled_wait_loses_nothing(server: Server, shared_sandbox: Sandbox) -> None:
    session, command = start(shared_sandbox, "for n in $(seq 1 60); do echo $n; sleep 0.01; done")

    async def main() -> str:
        box = await asynchronously(server, shared_sandbox)
        stream = await box.process.follow_session_command_logs(session, command)
        text = ""
        while True:
            try:
                text += (await asyncio.wait_for(stream.__anext__(), 0.005)).text
            except asyncio.TimeoutError:
                continue
            except StopAsyncIteration:
                return text

    assert asyncio.run(main()).split() == [str(n) for n in range(1, 61)]


@pytest.mark.parametrize("how", ["close", "forget"])
def test_connections_end_with_their_streams(shared_sandbox: Sandbox, how: str) -> None:
    session, command = start(shared_sandbox, "echo one; sleep 300")
    before = sockets()
    streams = [shared_sandbox.process.follow_session_command_logs(session, command) for _ in range(5)]
    assert [next(stream).text for stream in streams] == ["one\n"] * 5
    assert sockets() >= 5
    if how == "close":
        for stream in streams:
            stream.close()
            stream.close()
        assert [list(stream) for stream in streams] == [[]] * 5
    else:
        del streams
        gc.collect()
    eventually(lambda: sockets() <= before)
    shared_sandbox.process.delete_session(session)


def test_a_cancelled_task_ends_its_connection(server: Server, shared_sandbox: Sandbox) -> None:
    session, command = start(shared_sandbox, "echo one; sleep 300")

    async def main() -> None:
        box = await asynchronously(server, shared_sandbox)
        before = sockets()
        begun = asyncio.Event()

        async def follow() -> None:
            async for _ in await box.process.follow_session_command_logs(session, command):
                begun.set()

        task = asyncio.create_task(follow())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        await asyncio.get_running_loop().run_in_executor(None, eventually, lambda: sockets() <= before)

    asyncio.run(main())
    shared_sandbox.process.delete_session(session)


def test_closing_from_another_thread_releases(shared_sandbox: Sandbox) -> None:
    session, command = start(shared_sandbox, "echo one; sleep 300")
    stream = shared_sandbox.process.follow_session_command_logs(session, command)
    assert next(stream).text == "one\n"
    rest: list[list[OutputChunk]] = []
    reader = threading.Thread(target=lambda: rest.append(list(stream)))
    reader.start()
    stream.close()
    reader.join(10)
    assert rest == [[]]
    shared_sandbox.process.delete_session(session)


def test_many_threads(shared_sandbox: Sandbox) -> None:
    commands = [start(shared_sandbox, f"seq {n} {n + 1000}") for n in range(8)]
    found: dict[int, str] = {}

    def follow(n: int) -> None:
        stream = shared_sandbox.process.follow_session_command_logs(*commands[n])
        found[n] = "".join(chunk.text for chunk in stream)

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {n: "".join(f"{line}\n" for line in range(n, n + 1001)) for n in range(8)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_may_not_use_it(shared_sandbox: Sandbox) -> None:
    session, command = start(shared_sandbox, TWO_PARTS)
    stream = shared_sandbox.process.follow_session_command_logs(session, command)
    text = next(stream).text

    def child() -> bool:
        # What was taken already may still be there.
        with pytest.raises(DaytonaError, match="fork"):
            list(stream)
        return shared_sandbox.process.exec("echo child").result == "child\n"

    assert forked(child)
    shared_sandbox.process.send_session_command_input(session, command, "three")
    text += "".join(chunk.text for chunk in stream)
    assert sorted(text.splitlines()) == ["one", "three", "two"]


FOLLOW = """
import sys
process = box.process
process.create_session(NAME)
command = process.execute_session_command(NAME, SessionExecuteRequest(command="echo one; sleep 300", run_async=True))
stream = process.follow_session_command_logs(NAME, command.cmd_id)
assert next(stream).text == "one\\n"
"""


def program(server: Server, sandbox: Sandbox, code: str) -> Program:
    return Program(server, sandbox, FOLLOW.replace("NAME", repr(f"s{uuid4().hex}")) + code)


def test_control_c(server: Server, shared_sandbox: Sandbox) -> None:
    code = """
try:
    print("ready", flush=True)
    next(stream)
except KeyboardInterrupt:
    stream.close()
    print("interrupted", process.exec("echo on").result, end="")
"""
    run = program(server, shared_sandbox, code)
    run.ready()
    run.interrupt()
    assert run.end() == (0, "interrupted on\n", "")


def test_control_c_while_calling_back(server: Server, shared_sandbox: Sandbox) -> None:
    code = """
import asyncio
def on_stdout(text):
    print("ready", flush=True)
try:
    asyncio.run(process.get_session_command_logs_async(stream_name, command.cmd_id, on_stdout, print))
except KeyboardInterrupt:
    print("interrupted")
"""
    name = f"s{uuid4().hex}"
    run = Program(server, shared_sandbox, FOLLOW.replace("NAME", repr(name)) + f"stream_name = {name!r}\n" + code)
    run.ready()
    run.interrupt()
    assert run.end() == (0, "interrupted\n", "")


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)", "keep = [stream]; keep.append(keep)"])
def test_the_end_of_the_program(server: Server, shared_sandbox: Sandbox, end: str) -> None:
    run = program(server, shared_sandbox, f"print('ready', flush=True)\n{end}\n")
    run.ready()
    assert run.end() == (3 if "3" in end else 0, "", "")


def test_the_end_of_the_program_with_a_thread_that_waits(server: Server, shared_sandbox: Sandbox) -> None:
    code = """
import threading
threading.Thread(target=lambda: list(stream), daemon=True).start()
print("ready", flush=True)
"""
    run = program(server, shared_sandbox, code)
    run.ready()
    assert run.end() == (0, "", "")


def test_types() -> None:
    assert LogStream.__module__ == "daytona_native._sync.session"
    assert OutputChunk.__module__ == "daytona_native"


def test_input_waits_for_the_pipe_of_a_command_just_started(
    fake: Fake, fake_sandbox: Sandbox, fake_async: AsyncDaytona
) -> None:
    def sent(command: str) -> int:
        return fake.requests.count(f"POST /toolbox/box/process/session/s/command/{command}/input")

    fake_sandbox.process.send_session_command_input("s", "sync", "line")
    assert sent("sync") == 3

    async def main() -> None:
        sandbox = await fake_async.get("box")
        await sandbox.process.send_session_command_input("s", "async", "line")

    asyncio.run(main())
    assert sent("async") == 3
