"""Every method that takes a parameter object, and a server that shows what it sends."""

from __future__ import annotations

import asyncio
import dataclasses
import http.server
import inspect
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

import daytona_native as dn
from daytona_native import DaytonaError, DaytonaInvalidArgumentError


class Recorder(http.server.ThreadingHTTPServer):
    """Has one sandbox, refuses all else, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str]] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def take(self) -> list[tuple[str, str]]:
        taken, self.requests = self.requests, []
        return taken


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        answer: dict[str, object] = {"statusCode": 400, "message": "no"}
        # A sandbox that the caller does not name gets another name each time.
        body = re.sub("unnamed-[0-9a-f]{32}", "unnamed", self._body().decode("latin-1"))
        boundary = re.search("boundary=(.*)", self.headers.get("Content-Type") or "")
        if boundary:
            body = body.replace(boundary[1].strip('"'), "-")
        self.server.requests.append((f"{self.command} {self.path}", body))
        has_it = self.command == "GET" and self.path.endswith("/sandbox/box")
        if has_it:
            answer = {"id": "box", "state": "started", "toolboxProxyUrl": f"{self.server.url}/toolbox"}
        data = json.dumps(answer).encode()
        self.send_response(200 if has_it else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._answer)


@dataclasses.dataclass(frozen=True)
class Row:
    """A method that takes an object."""

    name: str
    argument: str
    kind: type[Any]
    good: dict[str, Any]
    call: Callable[[Any, Any, Any], Any]
    # A list of such objects.
    several: bool = False
    # None is fine.
    optional: bool = False
    # Text is fine.
    text: bool = False
    # Names a thing by its id alone; the other fields are as they are.
    thing: bool = False


VOLUME = {
    "id": "v1", "name": "v", "organization_id": "o", "state": "ready", "created_at": "", "updated_at": "",
}  # fmt: skip
CONTEXT = {"id": "c1", "cwd": "/", "created_at": "", "active": True, "language": "python"}
SNAPSHOT = {
    "id": "s1", "general": False, "name": "s", "state": "active", "size": 1, "entrypoint": None, "cpu": 1, "gpu": 0,
    "mem": 1, "disk": 1, "error_reason": None, "created_at": None, "updated_at": None, "last_used_at": None,
    "source_sandbox_id": None,
}  # fmt: skip
FROM_SNAPSHOT = {
    "snapshot": "snap", "name": "n", "language": "typescript", "labels": {"a": "b"}, "env_vars": {"A": "b"},
    "network_block_all": True, "ephemeral": True, "ttl_minutes": 5,
    "volumes": [{"volume_id": "v", "mount_path": "/m", "subpath": "s"}],
}  # fmt: skip
FROM_IMAGE = {"image": "debian:12", "resources": {"cpu": 2, "gpu_type": ["H100"]}, "public": False}
QUERY = {"labels": {"a": "b"}, "limit": 5, "states": ["started"], "min_cpu": 2, "created_at_after": "2026-01-01T00:00Z"}
SIZE = {"rows": 5, "cols": 6}
REGISTRY = {"name": "r", "url": "u", "username": "x", "password": "p"}

ROWS = [
    Row(
        "create",
        "params",
        dn.CreateSandboxFromSnapshotParams,
        FROM_SNAPSHOT,
        lambda c, _, x: c.create(x),
        optional=True,
    ),
    Row("create", "params", dn.CreateSandboxFromImageParams, FROM_IMAGE, lambda c, _, x: c.create(x), optional=True),
    Row(
        "create with logs",
        "params",
        dn.CreateSandboxFromSnapshotParams,
        FROM_SNAPSHOT,
        lambda c, _, x: c.create(x, on_snapshot_create_logs=print),
        optional=True,
    ),
    Row("list", "query", dn.ListSandboxesQuery, QUERY, lambda c, _, x: c.list(x), optional=True),
    Row("resize", "resources", dn.Resources, {"cpu": 2, "memory": 3}, lambda _, s, x: s.resize(x)),
    Row(
        "snapshot.create",
        "params",
        dn.CreateSnapshotParams,
        {"name": "n", "image": "debian:12", "resources": {"disk": 3}, "entrypoint": ["x"]},
        lambda c, _, x: c.snapshot.create(x),
    ),
    Row(
        "secret.create",
        "params",
        dn.CreateSecretParams,
        {"name": "n", "value": "v", "hosts": ["h"]},
        lambda c, _, x: c.secret.create(x),
    ),
    Row(
        "secret.update",
        "params",
        dn.UpdateSecretParams,
        {"value": "v", "description": "d"},
        lambda c, _, x: c.secret.update("id", x),
    ),
    Row("create_registry", "params", dn.RegistryParams, REGISTRY, lambda c, _, x: c.api.create_registry(x)),
    Row("update_registry", "params", dn.RegistryParams, REGISTRY, lambda c, _, x: c.api.update_registry("r", x)),
    Row(
        "code_run",
        "params",
        dn.CodeRunParams,
        {"argv": ["a", "b"], "env": {"A": "b"}},
        lambda _, s, x: s.process.code_run("1", x),
        optional=True,
    ),
    Row(
        "execute_session_command",
        "req",
        dn.SessionExecuteRequest,
        {"command": "ls", "run_async": True, "suppress_input_echo": True},
        lambda _, s, x: s.process.execute_session_command("id", x),
    ),
    Row(
        "create_pty_session",
        "pty_size",
        dn.PtySize,
        SIZE,
        lambda _, s, x: s.process.create_pty_session("id", pty_size=x),
        optional=True,
    ),
    Row("resize_pty_session", "pty_size", dn.PtySize, SIZE, lambda _, s, x: s.process.resize_pty_session("id", x)),
    Row(
        "upload_files",
        "files",
        dn.FileUpload,
        {"source": b"x", "destination": "d"},
        lambda _, s, x: s.fs.upload_files(x),
        several=True,
    ),
    Row(
        "download_files",
        "files",
        dn.FileDownloadRequest,
        {"source": "x", "destination": None},
        lambda _, s, x: s.fs.download_files(x),
        several=True,
    ),
    Row(
        "completions",
        "position",
        dn.LspCompletionPosition,
        {"line": 1, "character": 2},
        lambda _, s, x: s.create_lsp_server("python", "p").completions("f", x),
    ),
    Row("volume.delete", "volume", dn.Volume, VOLUME, lambda c, _, x: c.volume.delete(x), thing=True),
    Row(
        "delete_context",
        "context",
        dn.InterpreterContext,
        CONTEXT,
        lambda _, s, x: s.code_interpreter.delete_context(x),
        thing=True,
    ),
    Row(
        "run_code",
        "context",
        dn.InterpreterContext,
        CONTEXT,
        lambda _, s, x: s.code_interpreter.run_code("1", context=x),
        optional=True,
        thing=True,
    ),
    Row(
        "snapshot.delete",
        "snapshot",
        dn.Snapshot,
        SNAPSHOT,
        lambda c, _, x: c.snapshot.delete(x),
        text=True,
        thing=True,
    ),
    Row(
        "snapshot.activate",
        "snapshot",
        dn.Snapshot,
        SNAPSHOT,
        lambda c, _, x: c.snapshot.activate(x),
        text=True,
        thing=True,
    ),
    Row(
        "snapshot.deactivate",
        "snapshot",
        dn.Snapshot,
        SNAPSHOT,
        lambda c, _, x: c.snapshot.deactivate(x),
        text=True,
        thing=True,
    ),
]


class Client:
    """One client, sync or async, with its sandbox."""

    def __init__(self, is_async: bool, recorder: Recorder) -> None:
        kind = dn.AsyncDaytona if is_async else dn.Daytona
        self.is_async, self.recorder = is_async, recorder
        self.loop = asyncio.new_event_loop()
        self.client: Any = kind(dn.DaytonaConfig(api_url=f"{recorder.url}/api", api_key="key"))
        self.sandbox = self.wait(lambda: self.client.get("box"))
        recorder.take()

    def wait(self, call: Callable[[], Any]) -> Any:
        async def awaited() -> Any:
            result = call()
            if hasattr(result, "__aiter__"):
                return [one async for one in result]
            return await result if inspect.isawaitable(result) else result

        if self.is_async:
            return self.loop.run_until_complete(awaited())
        result = call()
        return list(result) if hasattr(result, "__next__") else result

    def sent(self, row: Row, value: object) -> list[tuple[str, str]]:
        """What is sent for a value; the server refuses it."""
        with pytest.raises(DaytonaError) as caught:
            self.wait(lambda: row.call(self.client, self.sandbox, value))
        assert not isinstance(caught.value, DaytonaInvalidArgumentError), caught.value
        return self.recorder.take()

    def refused(self, row: Row, value: object) -> str:
        """How a value is refused; nothing is sent."""
        with pytest.raises(DaytonaInvalidArgumentError) as caught:
            self.wait(lambda: row.call(self.client, self.sandbox, value))
        assert self.recorder.take() == []
        return str(caught.value)
