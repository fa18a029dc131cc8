"""Calls that make something and are called off: nothing is left that nobody has a handle to."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import Server, eventually
from daytona_native import (
    AsyncDaytona,
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaConfig,
    DaytonaTimeoutError,
    Image,
    ListSandboxesQuery,
)


class Far(http.server.ThreadingHTTPServer):
    """A server far away: it answers when the test says so, and goes on when its client has gone."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.things: dict[str, str] = {"box": "box"}
        self.posted = threading.Semaphore(0)
        self.may_answer = threading.Event()
        self.lock = threading.Lock()
        self.made = 0
        self.state = "started"
        self.url = f"http://127.0.0.1:{self.server_address[1]}/api"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def config(self) -> DaytonaConfig:
        return DaytonaConfig(api_url=self.url, api_key="key")

    def only_box_is_left(self) -> bool:
        with self.lock:
            return list(self.things) == ["box"]

    def data(self, id: str) -> dict[str, Any]:
        return {"id": id, "name": self.things.get(id), "state": self.state, "toolboxProxyUrl": self.url}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Far
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def find(self) -> str | None:
        name = self.path.rpartition("/")[2]
        return next((id for id, known in self.server.things.items() if name in (id, known)), None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with self.server.lock:
            self.server.made += 1
            id = f"made-{self.server.made}"
            self.server.things[id] = body.get("name") or id
            data = self.server.data(id)
        kind = self.path.rpartition("/")[2]
        data["state"] = {"snapshots": "active", "volumes": "ready"}.get(kind, self.server.state)
        self.server.posted.release()
        self.server.may_answer.wait(60)
        self.answer(200, data)

    def do_GET(self) -> None:
        with self.server.lock:
            id = self.find()
            data = self.server.data(id or "")
        self.answer(200 if id else 404, data)

    def do_DELETE(self) -> None:
        with self.server.lock:
            id = self.find()
            if id:
                del self.server.things[id]
        self.answer(200 if id else 404, {})


@pytest.fixture
def far() -> Iterator[Far]:
    server = Far()
    yield server
    server.may_answer.set()
    server.shutdown()
    server.server_close()


def program(url: str, key: str, code: str) -> subprocess.Popen[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("DAYTONA_")}
    environment = {**others, "DAYTONA_API_URL": url, "DAYTONA_API_KEY": key}
    begin = "from daytona_native import *\ndaytona = Daytona()\n"
    return subprocess.Popen([sys.executable, "-c", begin + code], env=environment, stderr=subprocess.PIPE, text=True)


def left(server: Server, label: str) -> list[str]:
    return [box.id for box in Daytona(server.config).list(ListSandboxesQuery(labels={"test": label}))]


def test_what_is_made_after_a_task_was_cancelled_is_deleted(far: Far) -> None:
    async def main() -> None:
        async with AsyncDaytona(far.config) as daytona:
            box = await daytona.get("box")
            named = CreateSandboxFromSnapshotParams(name="mine")
            for call in (daytona.create(), daytona.create(named), box.fork(), daytona.volume.create("mine")):
                far.may_answer.clear()
                task = asyncio.create_task(call)
                await asyncio.to_thread(far.posted.acquire, timeout=20)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                far.may_answer.set()
                await asyncio.to_thread(eventually, far.only_box_is_left)
            far.may_answer.clear()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(daytona.create(), 0.1)
            far.may_answer.set()
            await asyncio.to_thread(eventually, far.only_box_is_left)

    asyncio.run(main())


def test_cancelled_at_any_point(server: Server) -> None:
    label = uuid.uuid4().hex
    cancelled = 0

    async def main() -> None:
        nonlocal cancelled
        async with AsyncDaytona(server.config) as daytona:
            params = CreateSandboxFromSnapshotParams(labels={"test": label})
            await (await daytona.create(params)).delete()
            begin = time.monotonic()
            parent = await daytona.create(params)
            took = time.monotonic() - begin
            for number in range(30):
                call = parent.fork() if number % 5 == 4 else daytona.create(params)
                pause = took * number / 25
                try:
                    if number % 2:
                        made = await asyncio.wait_for(call, pause)
                    else:
                        task = asyncio.create_task(call)
                        await asyncio.sleep(pause)
                        task.cancel()
                        made = await task
                except (asyncio.CancelledError, asyncio.TimeoutError):
                    cancelled += 1
                    continue
                except Exception as error:  # Its parent is still being forked by a call that was called off.
                    assert "forking" in str(error), error
                    continue
                # It was quicker than the cancellation, and there is a handle to it.
                await made.delete(wait=True)
            await asyncio.to_thread(eventually, lambda: left(server, label) == [parent.id], 30)
            await parent.delete(wait=True)

    asyncio.run(main())
    assert left(server, label) == []
    assert cancelled, "none was called off"


def test_a_log_that_is_not_wanted_any_more(far: Far) -> None:
    far.may_answer.set()
    far.state = "pending_build"

    async def main() -> None:
        async with AsyncDaytona(far.config) as daytona:
            params = CreateSandboxFromSnapshotParams()
            task = asyncio.create_task(daytona.create(params, on_snapshot_create_logs=print))
            await asyncio.to_thread(far.posted.acquire, timeout=20)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(eventually, far.only_box_is_left)

    asyncio.run(main())


def test_a_time_limit_says_what_becomes_of_it(far: Far) -> None:
    daytona = Daytona(far.config)
    with pytest.raises(DaytonaTimeoutError, match="is deleted") as raised:
        daytona.create(timeout=1)
    assert raised.value.sandbox_id is None
    far.may_answer.set()
    eventually(far.only_box_is_left)
    far.state = "creating"
    with pytest.raises(DaytonaTimeoutError, match=r"get\(") as raised:
        daytona.create(timeout=1)
    assert raised.value.sandbox_id in far.things


@pytest.mark.parametrize("call", ["daytona.create()", "daytona.get('box').fork()"])
def test_ctrl_c_while_the_answer_is_late(far: Far, call: str) -> None:
    running = program(far.url, "key", call)
    assert far.posted.acquire(timeout=20)
    running.send_signal(signal.SIGINT)
    assert running.stderr
    while "KeyboardInterrupt" not in (line := running.stderr.readline()):
        assert line
    # The answer comes while the interpreter ends, or never: it can be deleted by its name.
    if "fork" in call:
        far.may_answer.set()
    assert running.wait(20)
    running.stderr.close()
    assert far.only_box_is_left()


def test_a_program_that_goes_on_after_ctrl_c(far: Far) -> None:
    code = (
        "import sys\n"
        "try:\n    daytona.create()\nexcept KeyboardInterrupt:\n    print('interrupted', file=sys.stderr, flush=True)\n"
        "input()\n"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("DAYTONA_")}
    running = subprocess.Popen(
        [sys.executable, "-c", "from daytona_native import *\ndaytona = Daytona()\n" + code],
        env={**others, "DAYTONA_API_URL": far.url, "DAYTONA_API_KEY": "key"},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert far.posted.acquire(timeout=20)
        running.send_signal(signal.SIGINT)
        assert running.stderr
        assert running.stderr.readline() == "interrupted\n"
        far.may_answer.set()
        # Nothing of the program runs meanwhile.
        eventually(far.only_box_is_left)
        running.communicate("\n", timeout=20)
        assert running.returncode == 0
    finally:
        running.kill()
        running.wait()


def test_ctrl_c_and_the_local_server(server: Server) -> None:
    label = uuid.uuid4().hex
    code = (
        f"import sys\nparams = CreateSandboxFromSnapshotParams(labels={{'test': {label!r}}})\n"
        "daytona.get(daytona.create().id).delete()\n"
        "print('ready', file=sys.stderr, flush=True)\n"
        "box = daytona.create(params)\nsys.stderr.write(f'made {box.id}\\n')\n"
    )
    for pause in (0.0, 0.004, 0.008, 0.012, 0.016):
        running = program(server.url, server.api_key, code)
        assert running.stderr
        assert running.stderr.readline() == "ready\n"
        time.sleep(pause)
        running.send_signal(signal.SIGINT)
        lines = running.communicate(timeout=20)[1].splitlines()
        told = [line.removeprefix("made ") for line in lines if line.startswith("made ")]
        # A program that waits for it at its end has nothing left over.
        assert left(server, label) == told
        for id in told:
            Daytona(server.config).get(id).delete(wait=True)


def test_a_snapshot_that_was_called_off(far: Far) -> None:
    async def main() -> None:
        from daytona_native import CreateSnapshotParams

        async with AsyncDaytona(far.config) as daytona:
            params = CreateSnapshotParams(name="mine", image=Image.base("debian:12"))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(daytona.snapshot.create(params), 0.2)
            far.may_answer.set()
            await asyncio.to_thread(eventually, far.only_box_is_left)

    asyncio.run(main())
