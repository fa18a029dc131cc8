"""Terminals: what the shared cases cannot express."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any
from uuid import uuid4

import pytest

from conftest import Program, Server, eventually, forked, sockets
from daytona_native import (
    AsyncDaytona,
    AsyncPtyHandle,
    AsyncSandbox,
    DaytonaConnectionError,
    DaytonaError,
    DaytonaInvalidArgumentError,
    PtyHandle,
    PtyResult,
    PtySessionInfo,
    PtySize,
    Sandbox,
)


def name() -> str:
    return f"p{uuid4().hex}"


def shows(terminal: PtyHandle, text: bytes) -> bytes:
    """Take output until it shows this."""
    seen = b""
    for data in terminal:
        seen += data
        if text in seen:
            return seen
    raise AssertionError(seen)


async def asynchronously(server: Server, sandbox: Sandbox) -> AsyncSandbox:
    return await AsyncDaytona(server.config).get(sandbox.id)


def test_models() -> None:
    assert PtySize(30, 100) == PtySize(rows=30, cols=100)
    assert PtyResult() == PtyResult(exit_code=None, error=None)


def test_the_life_of_a_terminal(shared_sandbox: Sandbox) -> None:
    process, id = shared_sandbox.process, name()
    terminal = process.create_pty_session(id, cwd="/tmp", envs={"MINE": "yes"}, pty_size=PtySize(rows=30, cols=100))
    terminal.wait_for_connection()
    assert (terminal.session_id, terminal.exit_code, terminal.error) == (id, None, None)
    assert terminal.is_connected()
    info = process.get_pty_session_info(id)
    assert isinstance(info, PtySessionInfo)
    assert (info.id, info.active, info.cols, info.rows, info.cwd) == (id, True, 100, 30, "/tmp")
    assert id in [one.id for one in process.list_pty_sessions()]
    assert terminal.resize(PtySize(rows=40, cols=120)).cols == 120
    terminal.send_input("stty size; echo <$MINE>\n".replace("<$MINE>", '"<$MINE>"'))
    assert b"40 120" in shows(terminal, b"<yes>\r\n")
    terminal.send_input(b"exit 7\n")
    assert terminal.wait() == PtyResult(7, terminal.error)
    assert terminal.exit_code == 7
    assert not terminal.is_connected()
    with pytest.raises(DaytonaConnectionError):
        terminal.send_input("x")
    terminal.disconnect()


def test_waiting_with_a_callback_and_a_limit(shared_sandbox: Sandbox) -> None:
    with shared_sandbox.process.create_pty_session(name()) as terminal:
        seen: list[bytes] = []
        terminal.send_input("printf 'up%s' now\n")
        begin = time.monotonic()
        assert terminal.wait(seen.append, timeout=0.5).exit_code is None
        assert 0.4 < time.monotonic() - begin < 5
        assert all(type(data) is bytes for data in seen)
        terminal.send_input("printf 'still%s' there; exit 2\n")
        assert terminal.wait(seen.append).exit_code == 2
        assert b"stillthere" in b"".join(seen)


def test_a_callback_that_raises_is_heard(shared_sandbox: Sandbox) -> None:
    with shared_sandbox.process.create_pty_session(name()) as terminal:

        def refuse(data: bytes) -> None:
            raise LookupError

        terminal.send_input("echo x\n")
        with pytest.raises(LookupError):
            terminal.wait(refuse)
        assert terminal.is_connected()
        terminal.kill()
        assert terminal.wait().exit_code == 137


@pytest.mark.parametrize("coroutine", [False, True])
def test_on_data(server: Server, shared_sandbox: Sandbox, coroutine: bool) -> None:
    async def main() -> None:
        box = await asynchronously(server, shared_sandbox)
        seen = bytearray()
        shown = asyncio.Event()

        def plain(data: bytes) -> None:
            assert type(data) is bytes
            seen.extend(data)
            if b"upnow" in seen:
                shown.set()

        async def awaited(data: bytes) -> None:
            await asyncio.sleep(0)
            plain(data)

        terminal = await box.process.create_pty_session(name(), awaited if coroutine else plain)
        assert isinstance(terminal, AsyncPtyHandle)
        await terminal.wait_for_connection()
        await terminal.send_input("printf 'up%s\\n' now\n")
        # Nobody waits for the terminal: the output comes all the same.
        await asyncio.wait_for(shown.wait(), 10)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(terminal.wait(), 0.05)
        assert (await terminal.wait(timeout=0.05)).exit_code is None
        with pytest.raises(DaytonaInvalidArgumentError, match="on_data"):
            await terminal.__anext__()
        with pytest.raises(DaytonaInvalidArgumentError, match="on_data"):
            await terminal.wait(plain)
        assert terminal.is_connected()
        await terminal.send_input("printf 'la%s\\n' st; exit 3\n")
        assert (await terminal.wait()).exit_code == 3
        assert b"last" in seen
        await terminal.disconnect()

    asyncio.run(main())


def test_on_data_without_the_handle(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        box = await asynchronously(server, shared_sandbox)
        id, seen, shown = name(), bytearray(), asyncio.Event()

        def on_data(data: bytes) -> None:
            seen.extend(data)
            if b"upnow" in seen:
                shown.set()

        typist = await box.process.create_pty_session(id)
        await box.process.connect_pty_session(id, on_data)
        gc.collect()
        await typist.send_input("printf 'up%s\\n' now\n")
        await asyncio.wait_for(shown.wait(), 10)
        await typist.kill()

    before = sockets()
    asyncio.run(main())
    gc.collect()
    eventually(lambda: sockets() <= before + 1)


def test_on_data_that_raises_or_disconnects(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        box = await asynchronously(server, shared_sandbox)
        handles: list[AsyncPtyHandle] = []

        def refuse(data: bytes) -> None:
            raise LookupError

        async def leave(data: bytes) -> None:
            await handles[0].disconnect()

        terminal = await box.process.create_pty_session(name(), refuse)
        await terminal.send_input("echo x\n")
        with pytest.raises(LookupError):
            await terminal.wait()
        await terminal.kill()
        handles.append(await box.process.create_pty_session(name(), leave))
        await handles[0].send_input("echo x\n")
        assert (await handles[0].wait(timeout=10)).exit_code is None
        assert not handles[0].is_connected()

    asyncio.run(main())


def test_iterating_asynchronously(server: Server, shared_sandbox: Sandbox) -> None:
    async def main() -> None:
        box = await asynchronously(server, shared_sandbox)
        async with await box.process.create_pty_session(name()) as terminal:
            await terminal.send_input("stty size; exit 4\n")
            assert b"24 80" in b"".join([data async for data in terminal])
            assert (await terminal.wait()).exit_code == 4

    asyncio.run(main())


def test_what_was_shown_is_shown_again(shared_sandbox: Sandbox) -> None:
    process, id = shared_sandbox.process, name()
    with process.create_pty_session(id) as terminal:
        terminal.send_input("printf 'be%s\\n' fore\n")
        shows(terminal, b"before")
    with process.connect_pty_session(id, replay=True) as terminal:
        shows(terminal, b"before")
    with process.connect_pty_session(id) as terminal:
        terminal.send_input("exit\n")
        assert b"before" not in b"".join(terminal)


def test_sizes_out_of_range(shared_sandbox: Sandbox) -> None:
    for size in (PtySize(0, 80), PtySize(24, 1001), PtySize(-1, 80), PtySize(24, 10**9)):
        with pytest.raises(DaytonaInvalidArgumentError):
            shared_sandbox.process.create_pty_session(name(), pty_size=size)
        with pytest.raises(DaytonaInvalidArgumentError):
            shared_sandbox.process.resize_pty_session("any", size)


@pytest.mark.parametrize("how", ["disconnect", "forget"])
def test_connections_end_with_their_handles(shared_sandbox: Sandbox, how: str) -> None:
    before, ids = sockets(), [name() for _ in range(4)]
    terminals = [shared_sandbox.process.create_pty_session(id) for id in ids]
    assert sockets() >= 4
    if how == "disconnect":
        for terminal in terminals:
            terminal.disconnect()
            terminal.disconnect()
            assert not terminal.is_connected()
    del terminals
    gc.collect()
    eventually(lambda: sockets() <= before + 1)
    # The terminals live on.
    for id in ids:
        assert shared_sandbox.process.get_pty_session_info(id).active
        shared_sandbox.process.kill_pty_session(id)


def test_disconnecting_from_another_thread_releases(shared_sandbox: Sandbox) -> None:
    terminal = shared_sandbox.process.create_pty_session(name())
    results: list[Any] = []
    reader = threading.Thread(target=lambda: results.append(terminal.wait()))
    reader.start()
    terminal.disconnect()
    reader.join(10)
    assert [result.exit_code for result in results] == [None]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_may_not_use_it(shared_sandbox: Sandbox) -> None:
    terminal = shared_sandbox.process.create_pty_session(name())

    def child() -> bool:
        for use in (lambda: next(terminal), terminal.wait, lambda: terminal.send_input("child\n")):
            with pytest.raises(DaytonaError, match="fork"):
                use()
        terminal.disconnect()
        return True

    assert forked(child)
    terminal.send_input("exit 6\n")
    assert terminal.wait().exit_code == 6


def test_control_c_and_the_end_of_the_program(server: Server, shared_sandbox: Sandbox) -> None:
    code = """
terminal = box.process.create_pty_session(ID)
other = box.process.create_pty_session(ID + "b")
try:
    print("ready", flush=True)
    for data in terminal:
        pass
except KeyboardInterrupt:
    print("interrupted", terminal.is_connected())
    terminal.kill()
    print(terminal.wait().exit_code)
    other.kill()
"""
    run = Program(server, shared_sandbox, code.replace("ID", repr(name())))
    run.ready()
    run.interrupt()
    assert run.end() == (0, "interrupted True\n137\n", "")
