"""Terminal backends: what the shared cases cannot express."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from conftest import Server, eventually, forked
from daytona_native import (
    AsyncDaytona,
    AsyncTerminalBackend,
    Daytona,
    DaytonaAuthenticationError,
    DaytonaConfig,
    DaytonaError,
    DaytonaInvalidArgumentError,
    DaytonaTimeoutError,
    ListSandboxesQuery,
    Sandbox,
    TerminalBackend,
    TerminalResult,
)


class Desk:
    """Backends whose sandboxes can be found."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.daytona = Daytona(server.config)
        self.label = uuid.uuid4().hex

    def config(self, **keys: Any) -> dict[str, Any]:
        return {"terminal": {"daytona": {"snapshot": "host", "labels": {"test": self.label}, **keys}}}

    def backend(self, **keys: Any) -> TerminalBackend:
        return TerminalBackend(self.config(**keys), daytona=self.daytona)

    def asynchronous(self, **keys: Any) -> AsyncTerminalBackend:
        return AsyncTerminalBackend(self.config(**keys), daytona=AsyncDaytona(self.server.config))

    def left(self) -> list[Sandbox]:
        return list(self.daytona.list(ListSandboxesQuery(labels={"test": self.label})))

    def program(self, code: str, **keys: Any) -> subprocess.Popen[str]:
        """Start a program with a backend ``t``."""
        begin = (
            "import asyncio, os, signal, sys\nfrom daytona_native import *\n"
            f"t = TerminalBackend({self.config(**keys)!r})\n"
        )
        environment = {**os.environ, "DAYTONA_API_URL": self.server.url, "DAYTONA_API_KEY": self.server.api_key}
        return subprocess.Popen(
            [sys.executable, "-c", begin + code],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def line(program: subprocess.Popen[str], wanted: str) -> None:
    assert program.stdout
    got = program.stdout.readline()
    assert got == wanted + "\n", got + program.communicate(timeout=20)[1]


@pytest.fixture
def desk(server: Server) -> Iterator[Desk]:
    desk = Desk(server)
    yield desk
    for sandbox in desk.left():
        sandbox.delete()


@pytest.fixture(scope="session")
def orphans(server: Server) -> Desk:
    """What a killed process left, a minute before it is looked for: its sandboxes are the server's business.

    The test that starts it runs first of all, and the test that reads it last (conftest.py).
    """
    desk = Desk(server)
    for keys in ({}, {"keep_alive": True, "max_idle": 5}):
        code = "s = t.exec('echo $$; exec sleep 300')\nnext(s)\nprint('ready', flush=True)\nsignal.pause()"
        program = desk.program(code, **keys)
        line(program, "ready")
        program.kill()
        program.communicate()
    assert len(desk.left()) == 2
    return desk


def test_the_sandbox_is_gone_before_the_end_is_told(orphans: Desk, desk: Desk) -> None:
    del orphans
    with desk.backend() as backend:
        result = backend.run("echo out; echo err >&2; exit 4")
        assert isinstance(result, TerminalResult)
        assert (result.exit_code, result.stdout, result.stderr) == (4, "out\n", "err\n")
        states = {str(sandbox.state) for sandbox in desk.left()}
        assert states <= {"destroying", "SandboxState.DESTROYING"}, states
        stream = backend.exec("cat; exit 5")
        stream.write_stdin("text")
        stream.close_stdin()
        assert "".join(chunk.text for chunk in stream) == "text"
        assert stream.wait() == 5
    assert desk.left() == []


def test_what_is_forgotten_is_destroyed(desk: Desk) -> None:
    backend = desk.backend()
    stream = backend.exec("echo ready; sleep 300")
    assert next(stream).text == "ready\n"
    assert len(desk.left()) == 1
    del stream, backend
    gc.collect()
    eventually(lambda: desk.left() == [])


def test_leaving_ends_what_runs(desk: Desk) -> None:
    with pytest.raises(LookupError), desk.backend() as backend:
        stream = backend.exec("echo ready; sleep 300")
        assert next(stream).text == "ready\n"
        raise LookupError
    assert desk.left() == []
    with pytest.raises(DaytonaError):
        stream.wait()


def test_a_cancelled_task_ends_command_and_sandbox(desk: Desk) -> None:
    async def main() -> None:
        backend = desk.asynchronous()
        task = asyncio.create_task(backend.run("sleep 300"))
        while not desk.left():
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await backend.close()
        assert desk.left() == []
        # While the sandbox is being made.
        for pause in (0.0, 0.005, 0.02, 0.05):
            task = asyncio.create_task(backend.run("sleep 300"))
            await asyncio.sleep(pause)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await backend.close()
        assert desk.left() == []

    asyncio.run(main())


def test_leaving_a_cancelled_scope_destroys(desk: Desk) -> None:
    async def main() -> None:
        for keep_alive in (False, True):
            with anyio.CancelScope() as scope:
                async with desk.asynchronous(keep_alive=keep_alive) as backend:
                    stream = await backend.exec("sleep 600")
                    assert len(await asyncio.to_thread(desk.left)) == 1
                    scope.cancel()
                    await anyio.sleep_forever()
            assert scope.cancelled_caught
            # Backend and stream are still here: leaving has destroyed it, though its call was cancelled too.
            await asyncio.to_thread(eventually, lambda: desk.left() == [], 30)
            del stream, backend

    asyncio.run(main())


def test_many_at_once(desk: Desk) -> None:
    async def main() -> None:
        async with desk.asynchronous() as backend:
            results = await asyncio.gather(*(backend.run(f"echo {n}") for n in range(8)))
            assert [result.stdout for result in results] == [f"{n}\n" for n in range(8)]
        assert desk.left() == []
        async with desk.asynchronous(keep_alive=True) as backend:
            await asyncio.gather(*(backend.run(f"echo {n}") for n in range(8)))
            assert len(desk.left()) == 1
        assert desk.left() == []

    asyncio.run(main())


def test_a_kept_sandbox_goes_when_it_is_idle(desk: Desk) -> None:
    backend = desk.backend(keep_alive=True, max_idle=1)
    assert backend.run("sleep 1.5; echo done").stdout == "done\n"
    assert len(desk.left()) == 1
    begin = time.monotonic()
    eventually(lambda: desk.left() == [])
    assert time.monotonic() - begin > 0.5
    assert backend.run("echo again").stdout == "again\n"
    del backend
    gc.collect()
    eventually(lambda: desk.left() == [])


@pytest.mark.parametrize("keep_alive", [False, True])
def test_ctrl_c_ends_command_and_sandbox(desk: Desk, keep_alive: bool) -> None:
    program = desk.program("print('ready', flush=True)\nt.run('sleep 300')", keep_alive=keep_alive)
    line(program, "ready")
    eventually(lambda: desk.left() and str(desk.left()[0].state).lower().endswith("started"))
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    eventually(lambda: desk.left() == [], 5)


def test_the_end_of_a_program_destroys_what_is_kept(desk: Desk) -> None:
    program = desk.program("t.run('true')\nprint('ready', flush=True)\nsys.stdin.readline()", keep_alive=True)
    line(program, "ready")
    out, err = program.communicate("", timeout=20)
    assert (program.returncode, out, err) == (0, "", "")
    assert desk.left() == []


def test_a_fork_has_sandboxes_of_its_own(desk: Desk) -> None:
    backend = desk.backend(keep_alive=True)
    assert backend.run("echo mine >file").exit_code == 0
    stream = backend.exec("echo ready; read line; echo $line")
    assert next(stream).text == "ready\n"

    def child() -> bool:
        with pytest.raises(DaytonaError, match="across a fork"):
            next(stream)
        other = desk.backend(keep_alive=True)
        own = other.run("cat file").exit_code != 0
        other.close()
        backend.close()
        return own

    assert forked(child)
    stream.write_stdin("on\n")
    assert next(stream).text == "on\n"
    assert backend.run("cat file").stdout == "mine\n"
    backend.close()
    assert desk.left() == []


def test_two_processes_share_the_sandbox_of_a_task(desk: Desk) -> None:
    task = uuid.uuid4().hex
    programs = [desk.program(f"t.run('echo {n} >>file')", task_id=task) for n in range(3)]
    for program in programs:
        out, err = program.communicate(timeout=60)
        assert (program.returncode, out, err) == (0, "", "")
    assert len(desk.left()) == 1
    backend = TerminalBackend(desk.config(), daytona=desk.daytona, task_id=task)
    assert backend.config.task_id == task
    assert sorted(backend.run("cat file").stdout.split()) == ["0", "1", "2"]
    backend.destroy()
    assert desk.left() == []


def test_a_yaml_file_is_read(desk: Desk, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"""
agent:
  model: other
terminal:
  backend: daytona
  daytona:
    snapshot: host
    timeout: 1
    keep_alive: true
    max_idle: 30
    labels: {{test: {desk.label}}}
""")
    with TerminalBackend(file.read_text(), daytona=desk.daytona) as backend:
        assert (backend.config.timeout, backend.config.keep_alive, backend.config.max_idle) == (1, True, 30)
        assert backend.run("echo kept >file").exit_code == 0
        with pytest.raises(DaytonaError, match=r"terminal\.daytona\.timeout"):
            backend.run("sleep 300")
        assert backend.run("cat file").stdout == "kept\n"
    assert desk.left() == []
    with pytest.raises(DaytonaInvalidArgumentError, match="what is in the file, not its path"):
        TerminalBackend(str(file), daytona=desk.daytona)


def test_the_first_word_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("DAYTONA_API_KEY", "DAYTONA_JWT_TOKEN", "DAYTONA_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DaytonaAuthenticationError, match=r"Daytona API key not set\. Set DAYTONA_API_KEY"):
        TerminalBackend()
    with pytest.raises(DaytonaInvalidArgumentError, match="task_id"):
        TerminalBackend("terminal: {}", task_id="x")


class _Slow(http.server.BaseHTTPRequestHandler):
    """A server whose sandboxes never start."""

    deleted: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state = "destroyed" if self.deleted else "creating"
        data = json.dumps({"id": "slow", "name": "slow", "state": state}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self.deleted.append(self.path)
        self._answer()


def test_a_sandbox_that_does_not_start_is_deleted() -> None:
    deleted: list[str] = []
    handler = type("Handler", (_Slow,), {"deleted": deleted})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = Daytona(DaytonaConfig(api_url=f"http://127.0.0.1:{server.server_address[1]}/api", api_key="key"))
        backend = TerminalBackend({"terminal": {"daytona": {"create_timeout": 1}}}, daytona=client)
        with pytest.raises(DaytonaTimeoutError, match=r"Workspace creation failed: .*create_timeout"):
            backend.run("true")
        backend.close()
        server.shutdown()
    assert deleted == ["/api/sandbox/slow"]


def test_the_default_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("DAYTONA_NATIVE_IMAGE_FALLBACK", "host")
    monkeypatch.setenv("DAYTONA_API_URL", "local")
    monkeypatch.delenv("DAYTONA_API_KEY", raising=False)
    daytona = Daytona.local(tmp_path)
    with TerminalBackend(daytona=daytona) as backend, backend.exec("echo ready; read line") as stream:
        assert next(stream).text == "ready\n"
        (sandbox,) = list(daytona.list())
        assert (sandbox.cpu, sandbox.memory, sandbox.disk) == (4, 8, 20)
        assert (sandbox.auto_stop_interval, sandbox.auto_delete_interval) == (1, 0)
    assert list(daytona.list()) == []


@pytest.mark.timeout(150)
def test_the_server_destroys_what_a_killed_process_left(orphans: Desk) -> None:
    eventually(lambda: orphans.left() == [], 130)
