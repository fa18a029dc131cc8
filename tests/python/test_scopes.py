"""Scopes of cancellation: a call ends in them as any awaitable does, and lets go of what it has."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import anyio
import pytest

from conftest import Fake, Server, until
from daytona_native import AsyncDaytona, AsyncSandbox, DaytonaConfig, Sandbox

SHORT = 0.1
# Those of sessions are their sessions' own.
ENDED = "for _ in $(seq 500); do pgrep -f '[s]leep {0}' > /dev/null || exit 0; sleep 0.02; done; exit 1"


async def pieces(fails: type[BaseException] | None = None) -> AsyncGenerator[bytes, None]:
    """Give one piece, and then nothing."""
    yield b"piece"
    if fails:
        raise fails
    await asyncio.Event().wait()


async def streamed(box: AsyncSandbox) -> None:
    async with await box.process.exec_stream("echo begun; sleep 600") as stream:
        async for _ in stream:
            pass


async def waited(box: AsyncSandbox) -> None:
    async with await box.process.exec_stream("sleep 600") as stream:
        await stream.wait()


async def written(box: AsyncSandbox) -> None:
    async with await box.process.exec_stream("sleep 600") as stream:
        while True:
            await stream.write_stdin(b"x" * 262144)


async def followed(box: AsyncSandbox) -> None:
    name = f"scope-{random.getrandbits(64)}"
    await box.process.create_session(name)
    command = await box.process.execute_session_command(name, {"command": "sleep 500", "run_async": True})
    try:
        async for _ in await box.process.follow_session_command_logs(name, command.cmd_id):
            pass
    finally:
        with anyio.CancelScope(shield=True):
            await box.process.delete_session(name)


async def delivered(box: AsyncSandbox) -> None:
    name = f"scope-{random.getrandbits(64)}"
    await box.process.create_session(name)
    command = await box.process.execute_session_command(name, {"command": "sleep 500", "run_async": True})
    await box.process.get_session_command_logs_async(name, command.cmd_id, print, print)


async def terminal(box: AsyncSandbox) -> None:
    async with await box.process.create_pty_session(f"scope-{random.getrandbits(64)}") as pty:
        async for _ in pty:
            pass


async def told(box: AsyncSandbox) -> None:
    async def hear(_: bytes) -> None:
        await asyncio.Event().wait()

    async with await box.process.create_pty_session(f"scope-{random.getrandbits(64)}", on_data=hear) as pty:
        await pty.wait()


async def sent(box: AsyncSandbox) -> None:
    await box.fs.upload_file_stream(pieces(), "scope/never")


AWAITABLES: list[Callable[[AsyncSandbox], Awaitable[object]]] = [
    lambda box: box.process.exec("sleep 600"),
    lambda box: box.process.code_run("import time; time.sleep(600)"),
    lambda box: box.code_interpreter.run_code("import time; time.sleep(600)"),
    streamed,
    waited,
    written,
    followed,
    delivered,
    terminal,
    told,
    sent,
]


@contextlib.asynccontextmanager
async def client(server: Server, sandbox: Sandbox) -> AsyncIterator[AsyncSandbox]:
    async with AsyncDaytona(server.config) as daytona:
        yield await daytona.get(sandbox.id)


def test_a_message_comes_along(fake: Fake, fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        for message, args in ((None, ()), ("why", ("why",)), (7, (7,))):
            task = asyncio.create_task(sandbox.process.exec("block"))
            await until(fake.blocked)
            task.cancel(message)
            with pytest.raises(asyncio.CancelledError) as raised:
                await task
            assert raised.value.args == args
            await until(fake.left)

        async def goes_on() -> str:
            with pytest.raises(asyncio.CancelledError) as raised:
                await sandbox.process.exec("block")
            assert raised.value.args == ("once",)
            task = asyncio.current_task()
            if task and sys.version_info >= (3, 11):
                assert (task.cancelling(), task.uncancel()) == (1, 0)
            return (await sandbox.process.exec("after")).result

        going = asyncio.create_task(goes_on())
        await until(fake.blocked)
        going.cancel("once")
        assert await going == "after"
        await until(fake.left)
        # Before its first step nothing is sent.
        sent = len(fake.requests)
        early = asyncio.create_task(sandbox.process.exec("never"))
        early.cancel("early")
        with pytest.raises(asyncio.CancelledError, match="early"):
            await early
        assert len(fake.requests) == sent

    asyncio.run(main())


def test_a_coroutine_is_awaited_once(fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        call = sandbox.process.exec("once")
        assert (await call).result == "once"
        with pytest.raises(RuntimeError, match="already"):
            await call
        task = asyncio.create_task(sandbox.process.exec("shared"))
        both = await asyncio.gather(task, asyncio.shield(task))
        assert [one.result for one in both] == ["shared", "shared"]

    asyncio.run(main())


def test_scopes_catch_their_own_cancellation(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        async with client(server, shared_sandbox) as box:
            for call in AWAITABLES:
                with anyio.move_on_after(SHORT) as scope:
                    await call(box)
                assert scope.cancelled_caught, call
                with pytest.raises(TimeoutError), anyio.fail_after(SHORT):
                    await call(box)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(call(box), SHORT)
                if sys.version_info >= (3, 11):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(SHORT):
                            await call(box)
                with anyio.move_on_after(SHORT) as outer, anyio.move_on_after(600) as inner:
                    await call(box)
                assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False), call
                with anyio.move_on_after(600) as outer:
                    with anyio.move_on_after(SHORT) as inner:
                        await call(box)
                    assert (await box.process.exec("echo on")).result == "on\n"
                assert (outer.cancelled_caught, inner.cancelled_caught) == (False, True), call
            for session in await box.process.list_sessions():
                if session.session_id.startswith("scope-"):
                    await box.process.delete_session(session.session_id)
            # Nothing is left of what was run.
            assert (await box.process.exec(ENDED.format(600))).exit_code == 0

    asyncio.run(main())


def test_a_group_ends_with_what_one_of_it_raises(fake: Fake, fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")

        async def fail() -> None:
            for _ in range(3):
                await until(fake.blocked)
            raise LookupError("one of them")

        with pytest.raises(Exception, match="unhandled errors") as raised:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(sandbox.process.exec, "block")
                group.start_soon(fail)
        errors = raised.value.exceptions  # type: ignore[attr-defined]  # newer than Python 3.10
        assert [repr(error) for error in errors] == ["LookupError('one of them')"]
        for _ in range(3):
            await until(fake.left)

    asyncio.run(main())


def test_what_is_shielded_runs(fake: Fake, fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        results = []
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def work() -> None:
                    try:
                        await sandbox.process.exec("block")
                    finally:
                        with anyio.CancelScope(shield=True):
                            results.append((await sandbox.process.exec("last word")).result)

                group.start_soon(work)
                await until(fake.blocked)
                scope.cancel("enough")
        assert scope.cancelled_caught
        assert results == ["last word"]
        await until(fake.left)

    asyncio.run(main())


def test_iterators_end_in_scopes(fake: Fake, server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        with fake.silent() as url, anyio.move_on_after(SHORT) as scope:
            async for _ in AsyncDaytona(DaytonaConfig(api_url=url, api_key="key")).list():
                pass
        assert scope.cancelled_caught
        async with client(server, shared_sandbox) as box:
            await box.fs.upload_file(b"x" * (8 << 20), "scope/large")
            with anyio.CancelScope() as scope:
                async for piece in await box.fs.download_file_stream("scope/large"):
                    assert piece
                    scope.cancel()
            assert scope.cancelled_caught
            assert (await box.process.exec("echo after")).result == "after\n"

    asyncio.run(main())


def test_nothing_is_lost_or_out_of_order_at_any_moment(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        async with client(server, shared_sandbox) as box:
            stream = await box.process.exec_stream("for i in $(seq 400); do echo $i; sleep 0.001; done")
            text, cancelled = "", 0
            while True:
                with anyio.move_on_after(random.random() * 0.003) as scope:
                    try:
                        chunk = await stream.__anext__()
                    except StopAsyncIteration:
                        break
                    text += chunk.text
                cancelled += scope.cancelled_caught
            assert text.split() == [str(number) for number in range(1, 401)]
            assert cancelled, "none was cancelled"

    asyncio.run(main())


def test_an_upload_lets_its_source_and_its_callbacks_go(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        async with client(server, shared_sandbox) as box:
            ended = []

            async def report(_: object) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append("callback")

            source = pieces()
            with anyio.move_on_after(SHORT):
                await box.fs.upload_file_stream(source, "scope/never", on_progress=report)
            # It would refuse while someone asks it for more.
            await source.aclose()
            assert ended in ([], ["callback"])
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others
            source = pieces(LookupError)
            with pytest.raises(LookupError):
                await box.fs.upload_file_stream(source, "scope/never")
            await source.aclose()

    asyncio.run(main())


def test_ctrl_c_ends_a_call_and_the_loop(fake: Fake) -> None:
    code = (
        "import asyncio, anyio\nfrom daytona_native import AsyncDaytona\n"
        "async def main():\n"
        "    box = await AsyncDaytona().get('box')\n"
        "    with anyio.move_on_after(600):\n"
        "        await box.process.exec('block')\n"
        "try:\n    asyncio.run(main())\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], env=fake.environment(), stdout=subprocess.PIPE, text=True)
    assert fake.blocked.acquire(timeout=20)
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=20)[0] == "interrupted\n"
    assert program.returncode == 0
    assert fake.left.acquire(timeout=20)
