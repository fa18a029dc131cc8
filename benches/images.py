"""Images: pulls beside skopeo from the same registry, and starts beside the host view."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import servers

ROOT = Path(__file__).resolve().parent.parent
FIXTURE = ROOT / "tests/images/registry.py"
"""Of the fixture, where what it needs is missing."""
SKIPPED = 77
NAME = "debian:12"

Client = Callable[[servers.Server, dict[str, Any]], dict[str, list[float]]]


class MissingError(RuntimeError):
    """What is needed is not installed."""


@contextmanager
def registry() -> Iterator[str]:
    """The Debian image of the tests, on a registry on loopback."""
    command = [sys.executable, str(FIXTURE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        ready = cast(IO[bytes], process.stdout).readline().decode().split()
        if not ready:
            reason = cast(IO[bytes], process.stderr).read().decode().strip()
            if process.wait() == SKIPPED:
                raise MissingError(reason)
            raise RuntimeError(reason)
        try:
            yield ready[1]
        finally:
            cast(IO[bytes], process.stdin).close()


def measure(binary: Path, client: Client, quick: bool) -> dict[str, Any]:
    with registry() as host, tempfile.TemporaryDirectory(prefix="daytona-bench-") as scratch:
        packed = packed_bytes(host)
        pulls: dict[str, list[float]] = {"ours": [], "skopeo": [], "skopeo and tar": []}
        starts: dict[str, list[float]] = {}
        unpacked = 0
        rounds = 2 if quick else 5
        for turn in range(rounds):
            copied, extracted, unpacked = skopeo(host, Path(scratch) / "copied")
            # Each pull with a store of its own, so that nothing is there yet.
            with servers.local(binary) as server:
                last = turn == rounds - 1
                plan = {"image": f"{host}/{NAME}", "rounds": (5 if quick else 60) if last else 0}
                taken = client(server, plan)
            if turn or quick:
                pulls["ours"] += taken["pull"]
                pulls["skopeo"].append(copied)
                pulls["skopeo and tar"].append(copied + extracted)
            starts = {kind: each for kind, each in taken.items() if kind != "pull"}
    return {
        "packed_mb": packed / 1e6,
        "unpacked_mb": unpacked / 1e6,
        "pull": {name: min(each) for name, each in pulls.items()},
        # The kernel, still busy with the end of the one before, makes some of each kind wait: the lower quartile is
        # free of that.
        "start": {kind: statistics.quantiles(each, n=4)[0] for kind, each in starts.items()},
        "start_median": {kind: statistics.median(each) for kind, each in starts.items()},
        "count": len(next(iter(starts.values()))),
    }


def packed_bytes(host: str) -> int:
    repository, tag = NAME.split(":")
    types = "application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": types})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return sum(int(layer["size"]) for layer in json.load(answer)["layers"])


def skopeo(host: str, into: Path) -> tuple[float, float, int]:
    """Seconds of a copy, verified but not unpacked, and of unpacking it by tar; and the bytes of its files."""
    source = f"docker://{host}/{NAME}"
    begin = time.perf_counter()
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{into}"], check=True, timeout=300
    )
    copied = time.perf_counter() - begin
    manifest = json.loads((into / "manifest.json").read_text())
    layers = [into / layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]]
    root = into / "root"
    root.mkdir()
    begin = time.perf_counter()
    for layer in layers:
        subprocess.run(["tar", "-xzpf", layer, "-C", root], check=True, timeout=300)
    extracted = time.perf_counter() - begin
    size = 0
    for layer in layers:
        with tarfile.open(layer) as tar:
            size += sum(entry.size for entry in tar if entry.isfile())
    shutil.rmtree(into)
    return copied, extracted, size
