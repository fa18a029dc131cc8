"""Objects of the official package's classes, given to our client: it reads them as its own, and none for another."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

import daytona
from daytona.common.pty import PtySize
from daytona.common.volume import Volume

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bindings-python/python"))

import daytona_native
from daytona_native import _given

MOUNT = {"volume_id": "v", "mount_path": "/m"}
OBJECTS: dict[str, Callable[[Any], Any]] = {
    "CreateSandboxFromSnapshotParams": lambda of: of.CreateSandboxFromSnapshotParams(
        snapshot="s", network_block_all=True, labels={"a": "b"}, volumes=[of.VolumeMount(**MOUNT)]
    ),
    "CreateSandboxFromImageParams": lambda of: of.CreateSandboxFromImageParams(
        image="debian:12", resources=of.Resources(cpu=1, gpu_type="H100"), language=of.CodeLanguage.PYTHON
    ),
    "ListSandboxesQuery": lambda of: of.ListSandboxesQuery(labels={"a": "b"}, states=[of.SandboxState.STARTED]),
    "DaytonaConfig": lambda of: of.DaytonaConfig(api_key="k", api_url="http://127.0.0.1:1", target="t"),
    "Resources": lambda of: of.Resources(cpu=1, memory=2),
    "CodeRunParams": lambda of: of.CodeRunParams(argv=["a"], env={"A": "b"}),
    "SessionExecuteRequest": lambda of: of.SessionExecuteRequest(command="ls", run_async=True),
    "FileUpload": lambda of: of.FileUpload(b"x", "y"),
    "FileDownloadRequest": lambda of: of.FileDownloadRequest("x"),
    "CreateSecretParams": lambda of: of.CreateSecretParams(name="n", value="v"),
    "UpdateSecretParams": lambda of: of.UpdateSecretParams(description="d"),
    "CreateSnapshotParams": lambda of: of.CreateSnapshotParams(
        name="n", image="debian:12", resources=of.Resources(disk=1)
    ),
    "LspCompletionPosition": lambda of: of.LspCompletionPosition(1, 2),
    "PtySize": lambda of: (of.PtySize if of is daytona_native else PtySize)(1, 2),
}


def read(name: str, value: object) -> Any:
    if name.startswith("CreateSandbox"):
        return _given.given_sandbox_params(value)
    return _given.given("argument", value, getattr(daytona_native, name))


@pytest.mark.parametrize("name", OBJECTS)
def test_an_official_object_is_read_as_our_own(name: str) -> None:
    assert read(name, OBJECTS[name](daytona)) == read(name, OBJECTS[name](daytona_native))
    for other, make in OBJECTS.items():
        # These two have the same fields.
        if (
            other != name
            and {name, other} != {"FileUpload", "FileDownloadRequest"}
            and not (name.startswith("CreateSandbox") and other.startswith("CreateSandbox"))
        ):
            with pytest.raises(daytona_native.DaytonaInvalidArgumentError):
                read(name, make(daytona))


def test_an_official_volume_is_known_by_its_id() -> None:
    values = {"id": "v1", "name": "n", "organization_id": "o", "state": "ready", "created_at": "", "updated_at": ""}
    volume = Volume(**values, last_used_at=None, error_reason=None)
    assert _given.given_id("volume", volume, daytona_native.Volume, "") == "v1"
