"""A real local server for the whole run, and a fake one that shows what reaches a server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from daytona_native import AsyncDaytona, Daytona, DaytonaConfig, Sandbox

ROOT = pathlib.Path(__file__).parents[2]


def server_binary() -> str:
    binary = os.environ.get("DAYTONA_NATIVE_BINARY") or str(ROOT / "bindings-node/bin/daytona-native")
    if not pathlib.Path(binary).is_file():
        raise RuntimeError(f"{binary} is not there: run `make build`, or set DAYTONA_NATIVE_BINARY")
    return binary


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other tests run in the minute that what a killed process left is there."""
    waiting = [item for item in items if "orphans" in getattr(item, "fixturenames", ())]
    if len(waiting) > 1:
        first, *_, last = waiting
        items[:] = [first, *(item for item in items if item not in (first, last)), last]


@dataclass(frozen=True)
class Server:
    url: str
    api_key: str

    @property
    def config(self) -> DaytonaConfig:
        return DaytonaConfig(api_url=self.url, api_key=self.api_key)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="daytona-python-", ignore_cleanup_errors=True) as directory:
        command = [server_binary(), "serve", "--port", "0", "--json", "--data-dir", f"{directory}/data"]
        with open(f"{directory}/log", "wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, pathlib.Path(directory, "log").read_text()
            ready = json.loads(line)
            yield Server(ready["url"], ready["apiKey"])
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def daytona(server: Server) -> Iterator[Daytona]:
    with Daytona(server.config) as client:
        yield client


@pytest.fixture(scope="session")
def shared_sandbox(server: Server) -> Iterator[Sandbox]:
    sandbox = Daytona(server.config).create()
    yield sandbox
    sandbox.delete()


class Fake(http.server.ThreadingHTTPServer):
    """Answers like a server with one sandbox.

    The command ``block`` is never answered: ``blocked`` says that it came, ``left`` that the client
    closed the connection. Other commands are answered with themselves. A DELETE deletes, but the first answer for what
    has ``lost`` in its name is lost. A streamed command starts where the sandbox's name ends in ``started``, and stays
    silent: no ping is answered.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blocked = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.requests: list[str] = []
        self.deleted: set[str] = set()
        self.traced: list[tuple[str, str | None]] = []
        self._connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def config(self) -> DaytonaConfig:
        return DaytonaConfig(api_url=f"{self.url}/api", api_key="key")

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    @contextlib.contextmanager
    def silent(self) -> Iterator[str]:
        """Give the URL of a server that never answers."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"

    def drop(self) -> None:
        """Break all connections."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "DAYTONA_API_URL": f"{self.url}/api", "DAYTONA_API_KEY": "key"}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Fake
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _note(self) -> None:
        request = f"{self.command} {self.path}"
        self.server.requests.append(request)
        self.server.traced.append((request, self.headers.get("traceparent")))

    def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._note()
        if self.headers.get("Upgrade") == "websocket":
            self._stall()
            return
        sandbox = self.path.rpartition("/")[2]
        if sandbox == "missing":
            body = {"statusCode": 404, "message": "no such sandbox", "source": "DAYTONA_API"}
            self.answer(404, body, {"X-Request-Id": "request-1"})
            return
        toolbox = f"{self.server.url}/toolbox"
        self.answer(200, {"id": sandbox, "name": sandbox, "state": "started", "cpu": 2, "toolboxProxyUrl": toolbox})

    def _stall(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]:
            self.send_header(name, value)
        self.end_headers()
        if "started/" in self.path:
            text = b'{"type":"started","stdin":0}'
            self.wfile.write(bytes([0x81, len(text)]) + text)
        with contextlib.suppress(OSError):
            while self.connection.recv(1 << 16):
                pass
        self.close_connection = True

    def do_DELETE(self) -> None:
        self._note()
        if self.path in self.server.deleted or "missing" in self.path:
            self.answer(404, {"statusCode": 404, "message": "no such thing"})
            return
        self.server.deleted.add(self.path)
        if "lost" in self.path:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.answer(200, {})

    def do_POST(self) -> None:
        self._note()
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/v1/"):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.endswith("/input"):
            # Of a command just started.
            is_early = self.server.requests.count(f"POST {self.path}") < 3
            text = "failed to open input pipe: no such file or directory"
            self.answer(500 if is_early else 200, {"message": text} if is_early else {})
            return
        body: dict[str, Any] = json.loads(data or b"{}")
        if body.get("command") != "block":
            self.answer(200, {"exitCode": 0, "result": body.get("command", "")})
            return
        self.server.blocked.release()
        self.connection.setblocking(False)
        select.select([self.connection], [], [], 60)
        try:
            gone = not self.connection.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            gone = True
        if gone:
            self.server.left.release()
        self.close_connection = True


class OldServer:
    """A local server as one that does not know streamed commands."""

    def __init__(self, server: Server) -> None:
        parts = urllib.parse.urlsplit(server.url)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        own = f"127.0.0.1:{self._listener.getsockname()[1]}"
        url = parts._replace(netloc=own).geturl()
        self.config = DaytonaConfig(api_url=url, api_key=server.api_key)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self._target)
            for source, sink in [(near, far), (far, near)]:
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data.replace(b"/process/execute/stream", b"/process/unknown/stream"))
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def old_server(server: Server) -> Iterator[OldServer]:
    old = OldServer(server)
    yield old
    old.close()


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fake_sandbox(fake: Fake) -> Sandbox:
    return Daytona(fake.config).get("box")


@pytest.fixture
def fake_async(fake: Fake) -> AsyncDaytona:
    return AsyncDaytona(fake.config)


def eventually(condition: Callable[[], object], limit: float = 10) -> None:
    """Wait until something holds that nobody tells of."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.01)


async def until(semaphore: threading.Semaphore) -> None:
    """Wait for what a server tells of."""
    assert await asyncio.get_running_loop().run_in_executor(None, lambda: semaphore.acquire(timeout=10))


def sockets() -> int:
    """Connections that this process holds."""
    count = 0
    for descriptor in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/dev/fd/{descriptor}").startswith("socket:")
    return count


def forked(work: Callable[[], bool]) -> bool:
    """Do something in a fork, which is killed if it hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(20)
            status = 0 if work() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Program:
    """A Python program with a client ``daytona`` and a sandbox ``box``; it says when it is ready."""

    def __init__(self, server: Server, sandbox: Sandbox, code: str) -> None:
        environment = {**os.environ, "DAYTONA_API_URL": server.url, "DAYTONA_API_KEY": server.api_key}
        begin = f"from daytona_native import *\ndaytona = Daytona()\nbox = daytona.get({sandbox.id!r})\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", begin + code],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.communicate()[1]

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        try:
            out, err = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out, err
