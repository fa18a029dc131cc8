"""Sandbox providers: what the shared cases cannot express."""

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
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import Server
from daytona_native import (
    AsyncSandboxProvider,
    Daytona,
    DaytonaAuthenticationError,
    DaytonaConflictError,
    DaytonaUnsupportedError,
    ListSandboxesQuery,
    SandboxHandle,
    SandboxProvider,
)


def left(server: Server, label: str) -> int:
    return len(list(Daytona(server.config).list(ListSandboxesQuery(labels={"test": label}))))


def test_the_environment_beats_the_pool(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTONA_API_URL", server.url)
    monkeypatch.setenv("DAYTONA_API_KEY", server.api_key)
    provider = SandboxProvider({"daytona_api_url": "http://127.0.0.1:9/api", "command": ["sleep", "300"]})
    handle = provider.provision({"snapshot": "host"})
    # Another process has it as JSON, in either spelling.
    again = SandboxProvider(api_key=server.api_key)
    assert again.status(handle.model_dump(mode="json")) == "running"
    assert again.status({"externalId": handle.external_id, **FIELDS}) == "running"
    assert handle == SandboxHandle(**handle.model_dump())
    # The key that is given beats the environment's, wrong or not.
    monkeypatch.setenv("DAYTONA_API_KEY", "wrong")
    assert SandboxProvider(api_key=server.api_key).status(handle) == "running"
    with pytest.raises(DaytonaAuthenticationError):
        SandboxProvider().status(handle)
    again.terminate(handle)
    assert provider.status(handle) == "terminated"


FIELDS = {"provider": "daytona", "transport": "dial-in", "provisionedAt": "2026-01-01T00:00:00Z"}


def test_the_first_word_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("DAYTONA_API_KEY", "DAYTONA_JWT_TOKEN", "DAYTONA_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DaytonaAuthenticationError, match=r"Daytona API key not set\. Set DAYTONA_API_KEY"):
        SandboxProvider()
    assert SandboxProvider(api_key="k").pool.daytona_api_url == "https://app.daytona.io/api"
    assert "secret-key" not in repr(SandboxProvider(api_key="secret-key").__dict__)


def test_what_nobody_waits_for_is_terminated(server: Server) -> None:
    label = uuid.uuid4().hex

    async def main() -> None:
        provider = AsyncSandboxProvider({"daytonaApiUrl": server.url, "command": []}, api_key=server.api_key)
        spec = {"snapshot": "host", "labels": {"test": label}}
        kept = await provider.provision(spec)
        for pause in (0.0, 0.005, 0.02):
            task = asyncio.create_task(provider.provision(spec))
            await asyncio.sleep(pause)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                # It may have been quicker than the cancellation.
                await provider.terminate(await task, force=True)
        for _ in range(200):
            if left(server, label) == 1:
                break
            await asyncio.sleep(0.05)
        assert left(server, label) == 1
        await provider.terminate(kept, force=True)

    asyncio.run(main())
    assert left(server, label) == 0


class Recorder(http.server.ThreadingHTTPServer):
    """A server of sandboxes or of workspaces, one of which it has, in the state that the test says."""

    daemon_threads = True

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind = kind
        self.state = "started"
        self.refusals: list[int] = []
        self.requests: list[tuple[str, Any]] = []
        self.posted = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/api"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def provider(self, **pool: Any) -> SandboxProvider:
        return SandboxProvider({"daytonaApiUrl": self.url, **pool}, api_key="key")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        assert self.headers["Authorization"] == "Bearer key"
        server.requests.append((f"{self.command} {self.path}", json.loads(data) if data else None))
        status, body = 200, {"id": "one", "name": "one", "state": server.state}
        if not self.path.startswith(f"/api/{server.kind}"):
            status = 404
        elif self.command == "POST":
            server.posted.set()
            server.may_answer.wait(30)
        elif self.command == "DELETE" and server.refusals:
            status = server.refusals.pop(0)
        text = json.dumps({"statusCode": status, "message": "no"} if status != 200 else body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()


@pytest.fixture
def of_sandboxes() -> Iterator[Recorder]:
    with Recorder("sandbox") as server:
        yield server
        server.shutdown()


@pytest.fixture
def of_workspaces() -> Iterator[Recorder]:
    with Recorder("workspace") as server:
        yield server
        server.shutdown()


STATES = {
    "provisioning": [
        *("creating", "starting", "restoring", "resuming"),
        *("pending_build", "building_snapshot", "pulling_snapshot"),
    ],
    "running": ["started", "running", "resizing", "snapshotting", "forking"],
    "paused": ["paused", "pausing"],
    "failed": ["error", "build_failed"],
    "terminated": ["stopped", "stopping", "archived", "archiving", "destroyed", "destroying", "unknown", "brand-new"],
}


def test_each_state_has_a_status(of_sandboxes: Recorder) -> None:
    provider = of_sandboxes.provider()
    for status, states in STATES.items():
        for of_sandboxes.state in states:
            assert provider.status({"externalId": "one", **FIELDS}) == status, of_sandboxes.state


def test_terminating_is_told_once_or_until_it_is_done(of_sandboxes: Recorder) -> None:
    provider = of_sandboxes.provider()
    handle = {"externalId": "one", **FIELDS}
    of_sandboxes.refusals = [409]
    with pytest.raises(DaytonaConflictError):
        provider.terminate(handle)
    of_sandboxes.refusals = [409, 409]
    provider.terminate(handle, force=True)
    assert of_sandboxes.refusals == []
    of_sandboxes.refusals = [404]
    provider.terminate(handle)


def test_a_server_of_workspaces_is_found_out(of_workspaces: Recorder) -> None:
    provider = of_workspaces.provider()
    handle = provider.provision({"name": "mine", "env": {"JOB": "7"}, "cpu": 2, "timeoutSec": 61})
    assert (handle.provider, handle.external_id, handle.transport) == ("daytona", "one", "dial-in")
    assert provider.status(handle) == "running"
    with pytest.raises(DaytonaUnsupportedError, match="workspaces"):
        provider.pause(handle)
    assert not provider.capabilities().pause_resume
    provider.terminate(handle, force=True)
    asked, *rest = of_workspaces.requests
    assert asked[0].startswith("GET /api/sandbox?")
    assert [request for request, _ in rest] == [
        "POST /api/workspace",
        "GET /api/workspace/one",
        "DELETE /api/workspace/one?force=true",
    ]
    made = rest[0][1]
    assert (made["name"], made["image"], made["user"]) == ("mine", "ghcr.io/renseiai/donmai-worker:latest", "daytona")
    assert (made["env"], made["autoStopInterval"]) == ({"JOB": "7"}, 2)
    assert made["resources"] == {"cpu": 2, "disk": 20}
    assert "donmai agent run" in (made["command"], " ".join(made["command"]))


def test_a_program_that_is_interrupted_leaves_no_sandbox(of_sandboxes: Recorder) -> None:
    of_sandboxes.may_answer.clear()
    code = (
        "from daytona_native import SandboxProvider\n"
        f"SandboxProvider({{'daytonaApiUrl': '{of_sandboxes.url}'}}, api_key='key').provision({{'command': []}})"
    )
    others = {key: value for key, value in os.environ.items() if not key.startswith("DAYTONA_")}
    program = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=others)
    assert program.stderr
    assert of_sandboxes.posted.wait(20)
    program.send_signal(signal.SIGINT)
    while "KeyboardInterrupt" not in (line := program.stderr.readline()):
        assert line
    of_sandboxes.may_answer.set()
    program.communicate(timeout=20)
    assert of_sandboxes.requests[-1][0].startswith("DELETE /api/sandbox/one")
