"""Sandbox providers: what the shared cases cannot express."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

import pytest

from conftest import Server
from daytona_native import (
    AsyncSandboxProvider,
    Daytona,
    DaytonaAuthenticationError,
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
                await task
        for _ in range(200):
            if left(server, label) == 1:
                break
            await asyncio.sleep(0.05)
        assert left(server, label) == 1
        await provider.terminate(kept, force=True)

    asyncio.run(main())
    assert left(server, label) == 0
