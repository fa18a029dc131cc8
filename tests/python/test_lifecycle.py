"""Snapshots as objects, and the deprecated names."""

from __future__ import annotations

import asyncio
import datetime

import pytest

from conftest import Server
from daytona_native import (
    AsyncDaytona,
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaInvalidArgumentError,
    Resources,
    Sandbox,
    SandboxState,
    Snapshot,
    SnapshotState,
)


def test_a_snapshot_is_an_object(daytona: Daytona) -> None:
    sandbox = daytona.create()
    sandbox.stop()
    with pytest.warns(DeprecationWarning, match="create_snapshot"):
        sandbox._experimental_create_snapshot("python-snapshot")
    assert sandbox.state is SandboxState.STOPPED
    snapshot = daytona.snapshot.get("python-snapshot")
    assert isinstance(snapshot, Snapshot)
    assert snapshot.state is SnapshotState.ACTIVE
    assert isinstance(snapshot.cpu, int)
    assert abs(datetime.datetime.now(datetime.timezone.utc) - snapshot.created_at) < datetime.timedelta(hours=1)
    assert snapshot.last_used_at is None
    assert snapshot.to_dict()["sourceSandboxId"] == sandbox.id
    page = daytona.snapshot.list(source_sandbox_id=sandbox.id)
    assert (page.items, page.total, page.page, page.total_pages) == ([snapshot], 1, 1, 1)
    copy = daytona.create(CreateSandboxFromSnapshotParams(snapshot=snapshot.name))
    assert copy.snapshot == snapshot.name
    daytona.snapshot.delete(snapshot)
    assert daytona.snapshot.list(source_sandbox_id=sandbox.id).items == []
    copy.delete()
    sandbox.delete()


def test_bad_resources_are_refused(shared_sandbox: Sandbox) -> None:
    for resources in (Resources(gpu=1), Resources(cpu=0), Resources()):
        with pytest.raises(DaytonaInvalidArgumentError):
            shared_sandbox.resize(resources)


def test_the_same_async(server: Server) -> None:
    async def main() -> None:
        async with AsyncDaytona(server.config) as daytona:
            found = await daytona.snapshot.get("host")
            assert found.general
            assert found.id in [one.id for one in (await daytona.snapshot.list()).items]

    asyncio.run(main())
