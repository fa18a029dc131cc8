"""Images: the builder, snapshots made from images, and what is told of builds."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import pathlib
import pickle
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import pytest

from conftest import Server, server_binary
from daytona_native import (
    AsyncDaytona,
    ContextUploadProgress,
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
    attempts: list[Callable[[], object]] = [
        lambda: image.add_local_file(tmp_path, "/x"),
        lambda: image.env({"A B": "c"}),
        lambda: image.env({"A": 1}),  # type: ignore[dict-item]
        lambda: image.cmd("ls"),  # type: ignore[arg-type]
        lambda: image.run_commands(object()),  # type: ignore[arg-type]
        lambda: image.dockerfile_commands(["COPY ../x /x"], tmp_path, strict_context=True),
        lambda: image.dockerfile_commands([], strict_context=True),
        lambda: Image.base(""),
        lambda: Image.debian_slim("3.8"),
    ]
    for refused in attempts:
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
        assert text.startswith("> FROM debian:12\nhost view: ")
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


def test_local_files_are_in_the_image(host_view: Server, tmp_path: pathlib.Path) -> None:
    app = tmp_path / "app"
    (app / "empty").mkdir(parents=True)
    (app / "main.sh").write_text("echo main with $GREETING\n")
    (app / "main.sh").chmod(0o755)
    (app / "link").symlink_to("main.sh")
    (app / "left.log").write_text("left out")
    (app / ".dockerignore").write_text("*.log\n")
    # More than one part.
    (app / "data").write_bytes(random.Random(1).randbytes(7 << 20))
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "two.txt").write_text("two")
    image = (
        Image.base("debian:12")
        .add_local_dir(app, "/app")
        .add_local_file(tmp_path / "one.txt", "/texts/first.txt")
        .dockerfile_commands(["COPY t*.txt \\", "  /texts/"], tmp_path)
        .run_commands("md5sum < /app/data > /app/sum")
        .env({"GREETING": "hello there"})
        .workdir("/app")
    )
    moved: list[ContextUploadProgress] = []
    with Daytona(host_view.config) as daytona:
        params = CreateSandboxFromImageParams(image=image)
        sandbox = daytona.create(params, on_upload_progress=moved.append)
        assert moved[-1].total_bytes and moved[-1].total_bytes > 7 << 20
        assert [one.bytes_sent for one in moved] == sorted(one.bytes_sent for one in moved)
        assert moved[-1].bytes_sent == moved[-1].total_bytes
        told = sandbox.process.exec("ls -A; cat /texts/*; echo; ./link; cat sum; stat -c %a:%U main.sh").result
        sum_ = hashlib.md5((app / "data").read_bytes()).hexdigest()
        assert told == (
            f".dockerignore\ndata\nempty\nlink\nmain.sh\nsum\nonetwo\nmain with hello there\n{sum_}  -\n755:root\n"
        )
        sandbox.delete()

        # All of it is there already: nothing is uploaded, and no step is run again.
        logs: list[str] = []
        again = daytona.create(params, on_snapshot_create_logs=logs.append, on_upload_progress=moved.append)
        again.delete()
        assert "Running in" not in (log := "\n".join(logs)) and "Using cache" in log, log

        def fail(_: ContextUploadProgress) -> None:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            daytona.create(params, on_upload_progress=fail)


UPLOAD = """
import resource, sys
from daytona_native import CreateSnapshotParams, Daytona, DaytonaConfig, Image
url, key, path = sys.argv[1:]
with Daytona(DaytonaConfig(api_url=url, api_key=key)) as daytona:
    daytona.list()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = Image.base("debian:12").add_local_file(path, "/large")
    daytona.snapshot.create(CreateSnapshotParams(name="large", image=image))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    daytona.snapshot.delete("large")
"""


def test_memory_does_not_grow_with_what_is_uploaded(host_view: Server, tmp_path: pathlib.Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(200 << 20)
    command = [sys.executable, "-c", UPLOAD, host_view.url, host_view.api_key, str(large)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 64, f"{run.stdout} MiB for an upload of 200"


def test_a_failed_build_tells_why(host_view: Server) -> None:
    image = Image.base("debian:12").run_commands("echo before", "exit 3")
    with Daytona(host_view.config) as daytona:
        why = r"(?s)build_failed.*exit 3.*end of the build log:\n.*before\n.*exit 3"
        with pytest.raises(DaytonaBuildFailedError, match=why) as failed:
            daytona.create(CreateSandboxFromImageParams(image=image))
        assert failed.value.sandbox_id
        daytona.get(failed.value.sandbox_id).delete()
        with pytest.raises(DaytonaBuildFailedError, match=r"(?s)exit 3.*end of the build log:\n"):
            daytona.snapshot.create(CreateSnapshotParams(name="failed", image=image))
        daytona.snapshot.delete("failed")


def test_asynchronously(host_view: Server, tmp_path: pathlib.Path) -> None:
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
            (tmp_path / "file").write_text("here\n")
            image = Image.base("debian:12").add_local_file(tmp_path / "file", "/a/b/")
            moved: list[int] = []

            async def report(progress: ContextUploadProgress) -> None:
                await asyncio.sleep(0)
                moved.append(progress.bytes_sent)

            params = CreateSandboxFromImageParams(image=image)
            sandbox = await daytona.create(params, on_upload_progress=report)
            assert (await sandbox.process.exec("cat /a/b/file")).result == "here\n"
            assert moved[-1] > 512
            await sandbox.delete()
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
