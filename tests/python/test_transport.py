"""Proxies, answers that do not fit into memory, and answers that are lost."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from conftest import Fake, server_binary
from daytona_native import (
    AsyncDaytona,
    Daytona,
    DaytonaConfig,
    DaytonaConnectionError,
    DaytonaInvalidArgumentError,
    DaytonaNotFoundError,
    DaytonaResponseTooLargeError,
)

PROXIES = [name for scheme in ("HTTP", "HTTPS", "ALL") for name in (f"{scheme}_PROXY", f"{scheme.lower()}_proxy")]

SYNC = """
import sys
from daytona_native import Daytona

with Daytona.local(sys.argv[1]) as daytona:
    sandbox = daytona.create()
    sandbox.fs.upload_file(b"data", "file")
    assert sandbox.fs.download_file("file") == b"data"
    assert sandbox.process.exec("cat file").result == "data"
    stream = sandbox.process.exec_stream("cat file")
    assert "".join(chunk.text for chunk in stream) == "data"
    sandbox.delete()
"""

ASYNC = """
import asyncio, sys
from daytona_native import AsyncDaytona

async def main():
    async with AsyncDaytona.local(sys.argv[1]) as daytona:
        sandbox = await daytona.create()
        await sandbox.fs.upload_file(b"data", "file")
        assert await sandbox.fs.download_file("file") == b"data"
        assert (await sandbox.process.exec("cat file")).result == "data"
        stream = await sandbox.process.exec_stream("cat file")
        assert "".join([chunk.text async for chunk in stream]) == "data"
        await sandbox.delete()

asyncio.run(main())
"""


@pytest.mark.parametrize("program", [SYNC, ASYNC], ids=["sync", "async"])
def test_nothing_of_a_local_server_goes_through_a_proxy(program: str, fake: Fake, tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://me:secret@127.0.0.1:{proxy.getsockname()[1]}"
        environment = {name: value for name, value in os.environ.items() if name.upper() != "NO_PROXY"}
        environment |= dict.fromkeys(PROXIES, url)
        environment |= {
            "DAYTONA_NATIVE_BINARY": server_binary(),
            "DAYTONA_OTEL_ENABLED": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": fake.url,
        }
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "data")], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "POST /v1/traces" in fake.requests
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_proxy_that_fails_is_named(asynchronous: bool) -> None:
    call = "asyncio.run(AsyncDaytona(config).get('box'))" if asynchronous else "Daytona(config).get('box')"
    program = f"""
import asyncio
from daytona_native import AsyncDaytona, Daytona, DaytonaConfig
config = DaytonaConfig(api_url="https://api.invalid/api", api_key="hidden")
{call}
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {**os.environ, "HTTPS_PROXY": f"http://me:hidden@127.0.0.1:{port}", "NO_PROXY": "api.invalid:80"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert DaytonaConnectionError.__name__ in last
    assert f"cannot connect to api.invalid:443 through the proxy http://127.0.0.1:{port}: " in last
    assert "add api.invalid:443 to NO_PROXY" in last
    assert "me:hidden" not in done.stderr


def limited(fake: Fake, limit: int | None) -> DaytonaConfig:
    return DaytonaConfig(api_url=f"{fake.url}/api", api_key="key", max_response_bytes=limit)


def test_an_answer_that_is_too_long_is_refused(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Daytona(limited(fake, 1000)).get("box")
    assert sandbox.process.exec("x" * 900).result == "x" * 900
    with pytest.raises(DaytonaResponseTooLargeError, match=r"longer than 1000 bytes.*max_response_bytes") as caught:
        sandbox.process.exec("x" * 1001)
    assert (caught.value.operation, caught.value.sandbox_id) == ("process.exec", "box")
    monkeypatch.setenv("DAYTONA_MAX_RESPONSE_BYTES", "2000")
    assert Daytona(limited(fake, None)).get("box").process.exec("x" * 1001).result == "x" * 1001
    with pytest.raises(DaytonaResponseTooLargeError, match="2000 bytes"):
        Daytona(limited(fake, None)).get("box").process.exec("x" * 2001)
    assert Daytona(limited(fake, 0)).get("box").process.exec("x" * 2001).result == "x" * 2001
    for bad in (-1, 1.5):
        with pytest.raises(DaytonaInvalidArgumentError, match="max_response_bytes"):
            Daytona(limited(fake, bad))  # type: ignore[arg-type]


def test_an_answer_that_is_too_long_is_refused_asynchronously(fake: Fake) -> None:
    async def main() -> None:
        async with AsyncDaytona(limited(fake, 1000)) as daytona:
            sandbox = await daytona.get("box")
            with pytest.raises(DaytonaResponseTooLargeError, match="1000 bytes") as caught:
                await sandbox.process.exec("x" * 1001)
            assert caught.value.operation == "process.exec"

    asyncio.run(main())


def test_what_was_deleted_before_its_answer_was_lost_is_deleted(fake: Fake) -> None:
    daytona = Daytona(fake.config)
    sandbox = daytona.get("box")
    sandbox.fs.delete_file("lost file")
    sandbox.process.delete_session("lost")
    daytona.secret.delete("lost")
    daytona.get("lost").delete(wait=False)
    assert [request.split()[0] for request in fake.requests].count("DELETE") == 8
    with pytest.raises(DaytonaNotFoundError) as caught:
        sandbox.fs.delete_file("missing")
    assert caught.value.attempts == 1


def test_what_was_deleted_before_its_answer_was_lost_is_deleted_asynchronously(fake: Fake) -> None:
    async def main() -> None:
        async with AsyncDaytona(fake.config) as daytona:
            sandbox = await daytona.get("box")
            await sandbox.fs.delete_file("lost file")
            await daytona.secret.delete("lost")
            with pytest.raises(DaytonaNotFoundError):
                await daytona.secret.delete("missing")

    asyncio.run(main())
    assert [request.split()[0] for request in fake.requests].count("DELETE") == 5
