"""Streamed commands: what the shared cases cannot express."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Fake, OldServer, Program, Server, eventually, forked, server_binary, sockets
from daytona_native import (
    AsyncDaytona,
    Daytona,
    DaytonaError,
    DaytonaInvalidArgumentError,
    DaytonaProcessExecutionTimeoutError,
    DaytonaSandboxDiedError,
    ExecStream,
    Sandbox,
    TerminalBackend,
)


def alive(sandbox: Sandbox, pid: str) -> bool:
    return sandbox.process.exec(f"kill -0 {pid}").exit_code == 0


def sleeping(sandbox: Sandbox) -> tuple[ExecStream, str]:
    stream = sandbox.process.exec_stream("echo $$; exec sleep 300")
    return stream, next(stream).text.strip()


def test_output_comes_while_it_runs(shared_sandbox: Sandbox) -> None:
    with shared_sandbox.process.exec_stream("echo one; read line; echo $line >&2; exit 3") as stream:
        chunk = next(stream)
        assert (chunk.stream, chunk.text, chunk.data) == ("stdout", "one\n", b"one\n")
        assert stream.exit_code is None
        stream.write_stdin("two\n")
        assert [(chunk.stream, chunk.text) for chunk in stream] == [("stderr", "two\n")]
        assert stream.exit_code == 3
        assert stream.wait() == 3
        assert len(stream.id) >= 16


def test_waiting_without_taking(shared_sandbox: Sandbox) -> None:
    stream = shared_sandbox.process.exec_stream("seq 1 500000; exit 4")
    assert next(stream).text.startswith("1\n2\n")
    assert stream.wait() == 4
    assert list(stream) == []


def test_stdin_from_another_thread(shared_sandbox: Sandbox) -> None:
    with shared_sandbox.process.exec_stream("cat") as stream:

        def write() -> None:
            for n in range(200):
                stream.write_stdin(b"%d" % n + b"x" * 20_000 + b"\n")
            stream.close_stdin()

        writer = threading.Thread(target=write)
        writer.start()
        data = b"".join(chunk.data for chunk in stream)
        writer.join(10)
        assert data == b"".join(b"%d" % n + b"x" * 20_000 + b"\n" for n in range(200))
        assert stream.wait() == 0
        with pytest.raises(DaytonaError):
            stream.write_stdin("more")


def test_asynchronously(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        box = await AsyncDaytona(server.config).get(shared_sandbox.id)
        async with await box.process.exec_stream("cat; exit 5") as stream:

            async def write() -> None:
                for n in range(100):
                    await stream.write_stdin(f"{n}\n")
                await stream.close_stdin()

            writer = asyncio.create_task(write())
            text = "".join([chunk.text async for chunk in stream])
            await writer
            assert text.split() == [str(n) for n in range(100)]
            assert (stream.exit_code, await stream.wait()) == (5, 5)

    asyncio.run(main())


def test_many_at_once(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        box = await AsyncDaytona(server.config).get(shared_sandbox.id)

        async def one(n: int) -> str:
            return "".join([chunk.text async for chunk in await box.process.exec_stream(f"echo {n}")])

        assert await asyncio.gather(*map(one, range(40))) == [f"{n}\n" for n in range(40)]

    asyncio.run(main())


@pytest.mark.parametrize("how", ["close", "leave", "forget"])
def test_it_is_killed_when_it_is_given_up(shared_sandbox: Sandbox, how: str) -> None:
    before = sockets()
    stream, pid = sleeping(shared_sandbox)
    assert alive(shared_sandbox, pid)
    if how == "close":
        stream.close()
        stream.close()
    elif how == "leave":
        with pytest.raises(LookupError), stream:
            raise LookupError
    else:
        del stream
        gc.collect()
    eventually(lambda: not alive(shared_sandbox, pid))
    eventually(lambda: sockets() <= before + 1)


def test_a_cancelled_task_kills_it(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> str:
        box = await AsyncDaytona(server.config).get(shared_sandbox.id)
        pids: asyncio.Queue[str] = asyncio.Queue()

        async def work() -> None:
            async with await box.process.exec_stream("echo $$; exec sleep 300") as stream:
                async for chunk in stream:
                    pids.put_nowait(chunk.text.strip())

        task = asyncio.create_task(work())
        pid = await pids.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    pid = asyncio.run(main())
    eventually(lambda: not alive(shared_sandbox, pid))


def test_signals(shared_sandbox: Sandbox) -> None:
    stream, _ = sleeping(shared_sandbox)
    with pytest.raises(DaytonaInvalidArgumentError, match="SIGNOPE"):
        stream.signal("SIGNOPE")
    stream.signal("SIGTERM")
    assert stream.wait() == 143
    stream, _ = sleeping(shared_sandbox)
    stream.kill()
    assert stream.wait() == 137


def test_closing_from_another_thread_releases(shared_sandbox: Sandbox) -> None:
    stream, pid = sleeping(shared_sandbox)
    done = threading.Event()

    def take() -> None:
        with contextlib.suppress(DaytonaError):
            list(stream)
        done.set()

    threading.Thread(target=take, daemon=True).start()
    stream.close()
    assert done.wait(10)
    eventually(lambda: not alive(shared_sandbox, pid))


def test_stopping_the_sandbox_releases_all_that_waits(daytona: Daytona) -> None:
    sandbox = daytona.create()
    try:
        stream, _ = sleeping(sandbox)
        ended: dict[str, BaseException] = {}

        def waiting(name: str) -> None:
            try:
                if name == "exec":
                    sandbox.process.exec("sleep 300")
                elif name == "code_run":
                    sandbox.process.code_run("import time; time.sleep(300)")
                else:
                    list(stream)
            except BaseException as error:
                ended[name] = error

        threads = [threading.Thread(target=waiting, args=(name,)) for name in ("exec", "code_run", "stream")]
        for thread in threads:
            thread.start()
        eventually(lambda: sandbox.process.exec("pgrep -c -f 'sleep[ (]300'").result.strip() == "3")
        sandbox.stop()
        begin = time.monotonic()
        for thread in threads:
            thread.join(10)
        assert time.monotonic() - begin < 4
        assert {name: type(error) for name, error in ended.items()} == {
            "exec": DaytonaSandboxDiedError,
            "code_run": DaytonaSandboxDiedError,
            "stream": DaytonaSandboxDiedError,
        }
    finally:
        sandbox.delete()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_may_not_use_it(shared_sandbox: Sandbox) -> None:
    stream = shared_sandbox.process.exec_stream("echo one; read line; echo $line")
    assert next(stream).text == "one\n"

    def child() -> bool:
        for use in (lambda: next(stream), stream.wait, lambda: stream.write_stdin("child\n"), stream.kill):
            with pytest.raises(DaytonaError, match="fork"):
                use()
        stream.close()
        with shared_sandbox.process.exec_stream("echo of the child") as own:
            return [chunk.text for chunk in own] == ["of the child\n"]

    assert forked(child)
    stream.write_stdin("parent\n")
    assert [chunk.text for chunk in stream] == ["parent\n"]


def test_control_c_kills_it(server: Server, shared_sandbox: Sandbox) -> None:
    code = """
try:
    with box.process.exec_stream("echo $$; exec sleep 300") as stream:
        pid = next(stream).text.strip()
        print("ready", flush=True)
        next(stream)
except KeyboardInterrupt:
    print(pid)
"""
    run = Program(server, shared_sandbox, code)
    run.ready()
    run.interrupt()
    code_, out, err = run.end()
    assert (code_, err) == (0, "")
    eventually(lambda: not alive(shared_sandbox, out.strip()))


def test_the_end_of_the_program_ends_it(server: Server, shared_sandbox: Sandbox) -> None:
    code = """
import asyncio, threading
async def main():
    asynchronous = await AsyncDaytona().get(box.id)
    one = await asynchronous.process.exec_stream("echo $$; exec sleep 300")
    other = box.process.exec_stream("echo $$; exec sleep 300")
    print("ready", flush=True)
    print((await one.__anext__()).text, next(other).text, sep="")
    threading.Thread(target=other.wait, daemon=True).start()
    globals().update(one=one, other=other)
    task = asyncio.ensure_future(one.wait())
    await asyncio.sleep(0)
    raise SystemExit(6)
asyncio.run(main())
"""
    run = Program(server, shared_sandbox, code)
    run.ready()
    code_, out, err = run.end()
    assert (code_, err) == (6, "")
    for pid in out.split():
        eventually(lambda pid=pid: not alive(shared_sandbox, pid), 90)  # type: ignore[misc]


def test_a_server_without_the_route_ends_stdin(old_server: OldServer) -> None:
    daytona = Daytona(old_server.config)
    sandbox = daytona.create()
    try:
        with sandbox.process.exec_stream("cat; echo over >&2") as stream:
            stream.close_stdin()
            assert [(chunk.stream, chunk.text) for chunk in stream] == [("stderr", "over\n")]
            assert stream.wait() == 0
        with sandbox.process.exec_stream("read a; echo got:$a; cat") as stream:
            stream.write_stdin("one\n")
            stream.write_stdin(b"\xff\0end")
            stream.close_stdin()
            assert b"".join(chunk.data for chunk in stream) == b"got:one\n\xff\0end"
            with pytest.raises(DaytonaInvalidArgumentError, match="closed"):
                stream.write_stdin("more")
    finally:
        sandbox.delete()


def test_a_terminal_on_a_server_without_the_route(old_server: OldServer) -> None:
    backend = TerminalBackend({"terminal": {"daytona": {"snapshot": "host"}}}, daytona=Daytona(old_server.config))
    try:
        assert backend.run("cat").stdout == ""
        assert backend.run("cat", stdin="in").stdout == "in"
    finally:
        backend.close()


def test_a_server_without_the_route_ends_stdin_async(old_server: OldServer) -> None:
    async def main() -> None:
        async with AsyncDaytona(old_server.config) as daytona:
            sandbox = await daytona.create()
            try:
                async with await sandbox.process.exec_stream("read a; echo got:$a; cat") as stream:
                    await stream.write_stdin("one\n")
                    await stream.write_stdin("end")
                    await stream.close_stdin()
                    assert "".join([chunk.text async for chunk in stream]) == "got:one\nend"
                    assert await stream.wait() == 0
            finally:
                await sandbox.delete()

    asyncio.run(main())


def test_the_command_line_on_a_server_without_the_route(old_server: OldServer) -> None:
    sandbox = Daytona(old_server.config).create()
    try:
        own = {"DAYTONA_API_URL": str(old_server.config.api_url), "DAYTONA_API_KEY": str(old_server.config.api_key)}
        for options, given, wanted in [([], b"in", b""), (["-i"], b"in\xff", b"in\xff")]:
            command = [server_binary(), "exec", *options, sandbox.id, "--", "cat"]
            ran = subprocess.run(command, input=given, capture_output=True, env={**os.environ, **own}, timeout=60)
            assert (ran.returncode, ran.stdout) == (0, wanted), ran.stderr
    finally:
        sandbox.delete()


def test_a_network_that_stalls_does_not_outlast_a_time_limit(fake: Fake) -> None:
    def stalled() -> None:
        with pytest.raises(DaytonaProcessExecutionTimeoutError, match="has not told its end"):
            Daytona(fake.config).get("is-started").process.exec_stream("true", timeout=1).wait()

    async def main() -> None:
        async with AsyncDaytona(fake.config) as daytona:
            sandbox = await daytona.get("is-silent")
            with pytest.raises(DaytonaProcessExecutionTimeoutError, match="has not told its end"):
                await (await sandbox.process.exec_stream("true", timeout=1)).wait()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(stalled)
        asyncio.run(asyncio.wait_for(main(), 60))
        done.result(60)
