"""The servers of a run, and what is measured of the local one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

STUB_SANDBOX = "8c5a2f0e-41c6-4b63-9a3e-000000000000"


@dataclass
class Server:
    url: str
    key: str
    sandbox: str
    pid: int
    runtime: str = ""

    def create(self) -> str:
        """The id of a new sandbox that does not stop by itself."""
        request = urllib.request.Request(
            f"{self.url}/sandbox",
            json.dumps({"autoStopInterval": 0}).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return str(json.load(answer)["id"])


@contextmanager
def stub(bench: Path) -> Iterator[Server]:
    with subprocess.Popen([bench, "stub"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        ready = json.loads(cast(IO[bytes], process.stdout).readline())
        try:
            yield Server(ready["url"], "stub", STUB_SANDBOX, process.pid)
        finally:
            cast(IO[bytes], process.stdin).close()


@contextmanager
def local(binary: Path) -> Iterator[Server]:
    data = tempfile.mkdtemp(prefix="daytona-bench-")
    command: list[str | Path] = [binary, "serve", "--port", "0", "--json", "--data-dir", data]
    environment = os.environ | {"DAYTONA_NATIVE_LOG": "error"}
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            line = cast(IO[bytes], process.stdout).readline()
            if not line:
                raise RuntimeError("the server did not start")
            ready = json.loads(line)
            try:
                yield Server(ready["url"], ready["apiKey"], "", process.pid, ready.get("runtime", ""))
            finally:
                process.terminate()
                try:
                    process.wait(120)
                except subprocess.TimeoutExpired:
                    process.kill()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def start(bench: Path, server: Server, count: int) -> dict[str, Any]:
    environment = os.environ | {"DAYTONA_API_KEY": server.key}
    done = subprocess.run(
        [bench, "start", server.url, str(count)], check=True, capture_output=True, env=environment, timeout=600
    )
    return cast(dict[str, Any], json.loads(done.stdout))


def idle(bench: Path, server: Server, count: int) -> dict[str, Any]:
    """Memory that so many sandboxes take, by the proportional set size of their processes."""
    environment = os.environ | {"DAYTONA_API_KEY": server.key}
    before = {pid: pss_kib(pid) for pid in family(server.pid)}
    available = available_kib()
    command: list[str | Path] = [bench, "hold", server.url, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        line = cast(IO[bytes], holder.stdout).readline()
        if not line:
            raise RuntimeError(f"{count} sandboxes could not be started")
        held = json.loads(line)
        after = {pid: pss_kib(pid) for pid in family(server.pid)}
        gone = available - available_kib()
        cast(IO[bytes], holder.stdin).close()
    theirs = {pid: kib for pid, kib in after.items() if pid not in before}
    servers_own = sum(after.get(pid, 0) for pid in before) - sum(before.values())
    return {
        "count": count,
        "seconds": held["seconds"],
        "exec_ms": held["exec"],
        "processes": len(theirs) / count,
        "pss_mib": sum(theirs.values()) / 1024 / count,
        "server_mib": servers_own / 1024 / count,
        "machine_mib": gone / 1024 / count,
    }


def family(root: int) -> list[int]:
    """A process and all that came from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold anything.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def pss_kib(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def available_kib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    return 0
