"""Proxies, answers that do not fit into memory, and answers that are lost."""

from __future__ import annotations

import asyncio

import pytest

from conftest import Fake
from daytona_native import (
    AsyncDaytona,
    Daytona,
    DaytonaConfig,
    DaytonaInvalidArgumentError,
    DaytonaNotFoundError,
    DaytonaResponseTooLargeError,
)


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
