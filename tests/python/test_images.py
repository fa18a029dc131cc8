"""Images: the builder, snapshots made from images, and what is told of builds."""

from __future__ import annotations

import asyncio
import copy
import json
import pathlib
import pickle
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from conftest import Server, server_binary
from daytona_native import (
    AsyncDaytona,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    Daytona,
    DaytonaBuildFailedError,
    DaytonaError,
    DaytonaInvalidArgumentError,
    DaytonaNotFoundError,
    Image,
)


@pytest.fixture(scope="module")
def host_view() -> Iterator[Server]:
    """A server on which this machine stands in for every image."""
    with tempfile.TemporaryDirectory(prefix="daytona-python-", ignore_cleanup_errors=True) as directory:
        command = [server_binary(), "serve", "--port", "0", "--json", "--data-dir", f"{directory}/data"]
        with open(f"{directory}/log", "wb") as log:
            process = subprocess.Popen(
                [*command, "--image-fallback", "host"], stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            assert process.stdout
            ready = json.loads(process.stdout.readline())
            yield Server(ready["url"], ready["apiKey"])
        finally:
            process.terminate()
            process.wait(30)


def test_the_builder(tmp_path: pathlib.Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print()")
    image = (
        Image.base("debian:12")
        .pip_install("b", ["a>=1"], pre=True)
        .add_local_dir(tmp_path / "app", "/app")
        .run_commands("true", ["echo", "it's"])
        .env({"A": "b c"})
        .workdir("/app")
        .entrypoint(["python", "main.py"])
        .cmd(["--help"])
    )
    source = str(tmp_path / "app")
    assert image.dockerfile() == (
        "FROM debian:12\n"
        "RUN python -m pip install 'a>=1' b --pre\n"
        f'COPY ["{source[1:]}", "/app"]\n'
        'RUN true\nRUN "echo" "it\\\'s"\n'
        "ENV A='b c'\nWORKDIR /app\n"
        'ENTRYPOINT ["python", "main.py"]\nCMD ["--help"]\n'
    )
    assert [one.source_path for one in image._context_list] == [source]
    assert pickle.loads(pickle.dumps(image)) == image == copy.deepcopy(image)


def test_what_cannot_be_right_is_refused_at_once(tmp_path: pathlib.Path) -> None:
    image = Image.base("x")
    with pytest.raises(DaytonaNotFoundError, match="none"):
        image.add_local_file(tmp_path / "none", "/x")
    for refused in (
        lambda: image.add_local_file(tmp_path, "/x"),
        lambda: image.env({"A B": "c"}),
        lambda: image.env({"A": 1}),  # type: ignore[dict-item]
        lambda: image.cmd("ls"),  # type: ignore[arg-type]
        lambda: image.run_commands(object()),  # type: ignore[arg-type]
        lambda: image.dockerfile_commands(["COPY ../x /x"], tmp_path, strict_context=True),
        lambda: image.dockerfile_commands([], strict_context=True),
        lambda: Image.base(""),
        lambda: Image.debian_slim("3.8"),
    ):
        with pytest.raises(DaytonaInvalidArgumentError):
            refused()
    assert image.dockerfile() == "FROM x\n"


def test_nothing_is_sent_for_an_image_that_is_none(daytona: Daytona) -> None:
    with pytest.raises(DaytonaInvalidArgumentError, match="image"):
        daytona.create(CreateSandboxFromImageParams(image=object()))  # type: ignore[arg-type]
    with pytest.raises(DaytonaInvalidArgumentError, match="Dockerfile"):
        daytona.create(CreateSandboxFromImageParams(image=Image()))
    with pytest.raises(DaytonaInvalidArgumentError, match="name"):
        daytona.snapshot.create(CreateSnapshotParams(name=" ", image="debian:12"))


def test_a_snapshot_of_an_image_and_its_log(host_view: Server) -> None:
    with Daytona(host_view.config) as daytona:
        told: list[str] = []
        params = CreateSnapshotParams(name="built", image=Image.base("debian:12"), entrypoint=None)
        made = daytona.snapshot.create(params, on_logs=told.append)
        assert made.state.value == "active"
        assert told[0].startswith("Creating snapshot built (")
        assert told[-1] == "Created snapshot built (active)"
        assert any("FROM debian:12" in line for line in told), told
        text = "".join(daytona.snapshot.build_logs(made))
        assert "FROM debian:12 -> the host view" in text
        with daytona.snapshot.build_logs("built") as log:
            assert next(log)
        with pytest.raises(DaytonaNotFoundError):
            daytona.snapshot.build_logs("nobody")

        sandbox = daytona.create(CreateSandboxFromSnapshotParams(snapshot="built"))
        assert sandbox.process.exec("echo here").result == "here\n"
        sandbox.delete()
        daytona.snapshot.delete("built")


def test_a_sandbox_of_an_image_and_its_log(host_view: Server) -> None:
    told: list[str] = []
    with Daytona(host_view.config) as daytona:
        params = CreateSandboxFromImageParams(image="debian:12.9")
        sandbox = daytona.create(params, on_snapshot_create_logs=told.append)
        assert sandbox.process.exec("echo here").result == "here\n"
        sandbox.delete()
        assert "FROM debian:12.9" in "\n".join(told)

        def fail(_: str) -> None:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            daytona.create(params, on_snapshot_create_logs=fail)


def test_a_failed_build_tells_why(host_view: Server) -> None:
    image = Image.base("debian:12").run_commands("true")
    with Daytona(host_view.config) as daytona:
        why = r"(?s)build_failed.*RUN: .*end of the build log:\n.*RUN"
        with pytest.raises(DaytonaBuildFailedError, match=why) as failed:
            daytona.create(CreateSandboxFromImageParams(image=image))
        assert failed.value.sandbox_id
        daytona.get(failed.value.sandbox_id).delete()
        with pytest.raises(DaytonaBuildFailedError, match=r"(?s)RUN: .*end of the build log:\n"):
            daytona.snapshot.create(CreateSnapshotParams(name="failed", image=image))
        daytona.snapshot.delete("failed")


def test_asynchronously(host_view: Server) -> None:
    async def work() -> None:
        told: list[str] = []

        async def note(line: str) -> None:
            await asyncio.sleep(0)
            told.append(line)

        async with AsyncDaytona(host_view.config) as daytona:
            made = await daytona.snapshot.create(
                CreateSnapshotParams(name="async", image=Image.base("debian:12")), on_logs=note, timeout=60
            )
            assert told[-1] == "Created snapshot async (active)"
            assert "host view" in "".join([text async for text in await daytona.snapshot.build_logs(made.id)])
            sandbox = await daytona.create(
                CreateSandboxFromImageParams(image=Image.base("debian:12")), on_snapshot_create_logs=note
            )
            assert (await sandbox.process.exec("echo here")).result == "here\n"
            await sandbox.delete()
            await daytona.snapshot.delete(made)
            with pytest.raises(DaytonaError):
                await daytona.snapshot.get("async")

    asyncio.run(work())
