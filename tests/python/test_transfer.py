"""Files from and to where Python has them: memory, paths, file objects, iterators."""

from __future__ import annotations

import asyncio
import io
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from conftest import Server
from daytona_native import (
    AsyncDaytona,
    AsyncSandbox,
    DaytonaError,
    DaytonaFileNotFoundError,
    DaytonaInvalidArgumentError,
    DownloadProgress,
    FileDownloadRequest,
    FileUpload,
    Sandbox,
    UploadProgress,
)

MIB = 1024 * 1024


@pytest.fixture
def box(shared_sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    yield shared_sandbox


def pieces(count: int, size: int = MIB) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 251]) * size


def test_bytes_and_paths(box: Sandbox, tmp_path: pathlib.Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"from a path")
    box.fs.upload_file(b"from memory", "transfer/a")
    box.fs.upload_file(local, "transfer/b")
    box.fs.upload_file(str(local), "transfer/c", 60)
    assert box.fs.download_file("transfer/a") == b"from memory"
    assert box.fs.download_file("transfer/b", 30) == b"from a path"
    assert box.fs.download_file("transfer/c", tmp_path / "new/there") is None
    assert (tmp_path / "new/there").read_bytes() == b"from a path"
    assert box.fs.download_file(remote_path="transfer/a", local_path=str(local), timeout=5) is None
    assert local.read_bytes() == b"from memory"
    with pytest.raises(DaytonaInvalidArgumentError, match="cannot upload"):
        box.fs.upload_file(tmp_path / "missing", "transfer/d")
    with pytest.raises(TypeError, match="cannot upload a int"):
        box.fs.upload_file(5, "transfer/d")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source",
    [
        b"content",
        bytearray(b"content"),
        memoryview(b"content"),
        io.BytesIO(b"content"),
        [b"con", b"", b"tent"],
        (piece for piece in [b"content"]),
    ],
    ids=["bytes", "bytearray", "memoryview", "file", "list", "generator"],
)
def test_every_kind_of_source(box: Sandbox, source: object) -> None:
    seen: list[UploadProgress] = []
    box.fs.upload_file_stream(source, "transfer/kind", on_progress=seen.append)  # type: ignore[arg-type]
    assert box.fs.download_file("transfer/kind") == b"content"
    assert seen[-1] == UploadProgress(bytes_sent=7)


def test_many_files(box: Sandbox, tmp_path: pathlib.Path) -> None:
    files = [FileUpload(f"content {n}".encode(), f"transfer/many/{n}") for n in range(300)]
    box.fs.upload_files(files)
    wanted = [FileDownloadRequest(file.destination) for file in files]
    target = tmp_path / "7"
    wanted[7].destination = str(target)
    answers = box.fs.download_files([*wanted, FileDownloadRequest("transfer/none")])
    assert answers[0].result == b"content 0"
    assert answers[7].result == str(target)
    assert target.read_bytes() == b"content 7"
    assert [answer.source for answer in answers[:-1]] == [file.destination for file in files]
    missing = answers[-1]
    assert missing.result is None
    assert missing.error
    assert missing.error_details
    assert (missing.error_details.status_code, missing.error_details.code) == (404, "FILE_NOT_FOUND")


def test_streams_report_and_end(box: Sandbox) -> None:
    box.fs.upload_file_stream(pieces(5), "transfer/stream")
    seen: list[DownloadProgress] = []
    content = b"".join(box.fs.download_file_stream("transfer/stream", on_progress=seen.append))
    assert content == b"".join(pieces(5))
    assert seen[-1] == DownloadProgress(bytes_received=5 * MIB, total_bytes=5 * MIB)
    stream = box.fs.download_file_stream("transfer/stream")
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    with pytest.raises(DaytonaFileNotFoundError):
        next(box.fs.download_file_stream("transfer/none"))


def test_a_callback_that_fails_ends_the_transfer(box: Sandbox) -> None:
    def report(_: object) -> None:
        raise LookupError("from the callback")

    with pytest.raises(LookupError, match="from the callback"):
        box.fs.upload_file_stream(pieces(50), "transfer/failed", on_progress=report)
    with pytest.raises(LookupError, match="from the callback"):
        list(box.fs.download_file_stream("transfer/stream", on_progress=report))
    with pytest.raises(LookupError, match="from the callback"):
        box.fs.upload_file_stream(b"at once", "transfer/failed", on_progress=report)


def test_a_callback_may_use_the_client(box: Sandbox) -> None:
    results = []

    def report(_: UploadProgress) -> None:
        results.append(box.process.exec("echo from the callback").result)

    box.fs.upload_file_stream(pieces(3), "transfer/nested", on_progress=report)
    assert results
    assert set(results) == {"from the callback\n"}


def test_a_source_that_fails_leaves_nothing(box: Sandbox) -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * MIB
        raise LookupError("from the source")

    with pytest.raises(LookupError, match="from the source"):
        box.fs.upload_file_stream(failing(), "transfer/half")
    with pytest.raises(DaytonaFileNotFoundError):
        box.fs.get_file_info("transfer/half")
    with pytest.raises(TypeError, match="must give bytes"):
        box.fs.upload_file_stream(io.StringIO("text"), "transfer/half")  # type: ignore[arg-type]


def test_cancel_event(box: Sandbox) -> None:
    cancel = threading.Event()

    def until_cancelled() -> Iterator[bytes]:
        yield b"x" * MIB
        cancel.set()
        yield from pieces(1000)

    with pytest.raises(DaytonaError, match="cancelled"):
        box.fs.upload_file_stream(until_cancelled(), "transfer/cancelled", cancel_event=cancel)
    box.fs.upload_file_stream(pieces(3), "transfer/stream")
    with pytest.raises(DaytonaError, match="cancelled"):
        list(box.fs.download_file_stream("transfer/stream", cancel_event=cancel))


def test_an_async_source_needs_the_async_client(box: Sandbox) -> None:
    with pytest.raises(TypeError, match="AsyncDaytona"):
        box.fs.upload_file_stream(async_pieces(1), "transfer/never")  # type: ignore[arg-type]


async def async_pieces(count: int) -> AsyncIterator[bytes]:
    for piece in pieces(count):
        await asyncio.sleep(0)
        yield piece


def test_asynchronously(server: Server, box: Sandbox, tmp_path: pathlib.Path) -> None:
    seen: list[int] = []

    async def report(progress: UploadProgress) -> None:
        await asyncio.sleep(0)
        seen.append(progress.bytes_sent)

    async def received(sandbox: AsyncSandbox, path: str) -> bytes:
        return b"".join([piece async for piece in await sandbox.fs.download_file_stream(path)])

    async def main() -> None:
        sandbox = await AsyncDaytona(server.config).get(box.id)
        fs = sandbox.fs
        await fs.upload_file_stream(async_pieces(4), "transfer/async", on_progress=report)
        assert seen[-1] == 4 * MIB
        assert seen == sorted(seen)
        assert await received(sandbox, "transfer/async") == b"".join(pieces(4))
        file = tmp_path / "file"
        file.write_bytes(b"y" * 3 * MIB)
        with file.open("rb") as opened:
            await fs.upload_file_stream(opened, "transfer/async")
            assert not opened.closed
        assert await fs.download_file("transfer/async") == file.read_bytes()
        await fs.upload_file_stream(pieces(2), "transfer/async")
        assert len(await received(sandbox, "transfer/async")) == 2 * MIB

        async def failing() -> AsyncIterator[bytes]:
            yield b"x"
            raise LookupError("from the source")

        with pytest.raises(LookupError, match="from the source"):
            await fs.upload_file_stream(failing(), "transfer/async-half")
        with pytest.raises(DaytonaFileNotFoundError):
            await fs.get_file_info("transfer/async-half")

        def broken(_: object) -> None:
            raise LookupError("from the callback")

        with pytest.raises(LookupError, match="from the callback"):
            await fs.upload_file_stream(async_pieces(50), "transfer/async", on_progress=broken)
        cancel = asyncio.Event()
        cancel.set()
        with pytest.raises(DaytonaError, match="cancelled"):
            await fs.upload_file_stream(async_pieces(50), "transfer/async", cancel_event=cancel)

    asyncio.run(main())


MEMORY = """
import resource, sys
from daytona_native import Daytona, DaytonaConfig
box = Daytona(DaytonaConfig(api_url=sys.argv[1], api_key=sys.argv[2])).get(sys.argv[3])
piece = b"x" * 262144
box.fs.upload_file_stream((piece for _ in range(8)), "transfer/flat")
for _ in box.fs.download_file_stream("transfer/flat"): pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
box.fs.upload_file_stream((piece for _ in range(512)), "transfer/flat")
size = sum(len(piece) for piece in box.fs.download_file_stream("transfer/flat"))
print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_streams_keep_memory_flat(server: Server, box: Sandbox) -> None:
    command = [sys.executable, "-c", MEMORY, server.url, server.api_key, box.id]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    size, grown = map(int, done.stdout.split())
    assert size == 128 * MIB
    assert grown < 16 * 1024, f"{grown} KiB for {size} bytes"


LARGE = """
import resource, sys
from daytona_native import Daytona, DaytonaConfig
url, key, name = sys.argv[1:]
box = Daytona(DaytonaConfig(api_url=url, api_key=key)).get(name)
piece = bytes(1 << 20)
box.fs.upload_file_stream((piece for _ in range(2)), "transfer/large")
for _ in box.fs.download_file_stream("transfer/large"): pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
box.fs.upload_file_stream((piece for _ in range(1024)), "transfer/large")
size = sum(len(piece) for piece in box.fs.download_file_stream("transfer/large"))
print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_gibibyte_keeps_memory_flat_on_both_sides(server: Server, box: Sandbox) -> None:
    command = [sys.executable, "-c", LARGE, server.url, server.api_key, box.id]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    size, grown = map(int, done.stdout.split())
    assert size == 1024 * MIB
    assert grown < 32 * 1024, f"{grown} KiB for {size} bytes"
    peaks = box.process.exec("cat /proc/[0-9]*/status | awk '/^VmHWM/ {print $2}' | sort -n | tail -1")
    assert int(peaks.result) < 128 * 1024, f"the sandbox took {peaks.result} KiB"
    box.fs.delete_file("transfer/large")
