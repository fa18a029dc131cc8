"""The runtime of the local server: seen, demanded, and warned of."""

from __future__ import annotations

import asyncio
import getpass
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from conftest import Server, server_binary
from daytona_native import (
    AsyncDaytona,
    Daytona,
    DaytonaConfig,
    DaytonaConflictError,
    DaytonaInvalidArgumentError,
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DAYTONA_") and name != "DAYTONA_NATIVE_BINARY"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{pathlib.Path(server_binary()).parent}:{os.environ['PATH']}")


@pytest.fixture
def open_server(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The data directory of a server that isolates nothing."""
    command = [server_binary(), "serve", "--port", "0", "--json", "--runtime", "process", "--data-dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline()
        yield tmp_path
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout
        process.stdout.close()


def test_another_runtime_is_refused(open_server: pathlib.Path) -> None:
    with pytest.raises(DaytonaConflictError, match=r"runtime process, and ns is asked for.*serve --runtime ns"):
        Daytona.local(open_server, runtime="ns").create()

    async def main() -> None:
        async with AsyncDaytona.local(open_server, runtime="docker") as daytona:
            with pytest.raises(DaytonaConflictError, match="docker is asked for"):
                await daytona.runtime()

    asyncio.run(main())
    with pytest.raises(DaytonaInvalidArgumentError, match="runtime must be one of ns, docker, process"):
        Daytona.local(open_server, runtime="vm")


def test_the_environment_demands_one_too(open_server: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTONA_LOCAL_RUNTIME", "ns")
    with pytest.raises(DaytonaConflictError):
        Daytona.local(open_server).runtime()
    assert Daytona.local(open_server, runtime="process").runtime() == "process"
    monkeypatch.setenv("DAYTONA_LOCAL_RUNTIME", "vm")
    with pytest.raises(DaytonaInvalidArgumentError, match="DAYTONA_LOCAL_RUNTIME"):
        Daytona.local(open_server)


def test_a_server_that_isolates_nothing_is_warned_of_once(open_server: pathlib.Path) -> None:
    daytona = Daytona.local(open_server)
    with pytest.warns(UserWarning, match=f"isolates nothing.*run as the user {getpass.getuser()} ") as told:
        sandbox = daytona.create()
    assert [warning.filename for warning in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sandbox.delete()
        assert daytona.runtime() == "process"
        assert Daytona.local(open_server).runtime() == "process"

    async def main() -> None:
        async with AsyncDaytona.local(open_server, runtime="process") as daytona:
            assert await daytona.runtime() == "process"

    asyncio.run(main())


def test_a_warning_that_is_an_error_leaves_no_sandbox(open_server: pathlib.Path) -> None:
    daytona = Daytona.local(open_server)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="isolates nothing"):
            daytona.create()
    from conftest import eventually

    eventually(lambda: list(daytona.list()) == [])


def test_a_server_is_started_with_it(tmp_path: pathlib.Path) -> None:
    # The server ends with its last client: a program of its own.
    code = (
        "import sys, warnings\nfrom daytona_native import *\nwarnings.simplefilter('error')\n"
        "daytona = Daytona.local(sys.argv[1], runtime='process')\nbox = daytona.create()\n"
        "print(daytona.runtime(), box.state == SandboxState.STARTED)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (out.stdout, out.stderr) == ("process True\n", ""), out


def test_a_server_given_by_its_url_has_none(server: Server) -> None:
    assert Daytona(server.config).runtime() is None
    config = DaytonaConfig(api_url="http://127.0.0.1:9/api", api_key="key")
    os.environ["DAYTONA_LOCAL_RUNTIME"] = "ns"
    try:
        Daytona(config)
    finally:
        del os.environ["DAYTONA_LOCAL_RUNTIME"]
