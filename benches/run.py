"""Measures our clients and server beside the official clients and bare Rust, in one run.

`make bench` builds what is needed and calls this. Environment variables name other places:
BENCH_SERVER (the server's binary), BENCH_PYTHON (an interpreter that has our module),
BENCH_OFFICIAL_PYTHON, BENCH_OFFICIAL_NODE (a node_modules directory).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import images
import report
import servers

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "target/release/daytona-bench"
CLIENTS = ROOT / "benches/clients"
OFFICIAL = ROOT / "target/official"
PYTHON = os.environ.get("BENCH_PYTHON", sys.executable)
OFFICIAL_PYTHON = os.environ.get("BENCH_OFFICIAL_PYTHON", str(OFFICIAL / "venv/bin/python"))
OFFICIAL_NODE = Path(os.environ.get("BENCH_OFFICIAL_NODE", OFFICIAL / "node_modules"))
LARGE = 256 * 1024 * 1024
LIMIT = 300

TIMES = ("wall", "cpu", "p50", "first")

Plan = dict[str, Any]
Samples = dict[str, dict[str, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Client:
    name: str
    command: list[str]
    """Loads the client and does nothing more."""
    load: list[str]
    """The same without the client."""
    nothing: list[str]


def python(name: str, interpreter: str, script: str, module: str, cls: str) -> Client:
    return Client(
        name,
        [interpreter, str(CLIENTS / script), "--module", module],
        [interpreter, "-c", f"from {module} import {cls}"],
        [interpreter, "-c", "pass"],
    )


def node(name: str, package: Path) -> Client:
    return Client(
        name,
        ["node", "--expose-gc", str(CLIENTS / "node.mjs"), str(package)],
        ["node", "-e", f"require({str(package)!r})"],
        ["node", "-e", "0"],
    )


ALL = [
    Client("bare", [str(BENCH), "bare"], [], []),
    Client("core", [str(BENCH), "core"], [], []),
    python("python", PYTHON, "python_sync.py", "daytona_native", "Daytona"),
    python("python-async", PYTHON, "python_async.py", "daytona_native", "AsyncDaytona"),
    node("node", ROOT / "bindings-node"),
    python("official-python", OFFICIAL_PYTHON, "python_sync.py", "daytona", "Daytona"),
    python("official-python-async", OFFICIAL_PYTHON, "python_async.py", "daytona", "AsyncDaytona"),
    node("official-node", OFFICIAL_NODE / "@daytona/sdk"),
]
OURS = ("python", "python-async", "node")


def environment() -> dict[str, str]:
    """Without the caller's own settings, and without a proxy between the client and loopback."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DAYTONA_", "OTEL_")) and not name.lower().endswith("_proxy")
    }
    # No client is to look for events that neither server sends. The warnings are about that, and
    # about more calls at once than connections.
    return kept | {"DAYTONA_USE_DEPRECATED_POLLING": "true", "PYTHONWARNINGS": "ignore", "NODE_NO_WARNINGS": "1"}


def call(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=env or environment(),
        timeout=LIMIT,
        cwd=tempfile.gettempdir(),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)[:200]}\n{done.stderr[-2000:]}")
    return done


def present(client: Client, missing: dict[str, str]) -> bool:
    try:
        if client.load:
            call(client.load)
    except (OSError, RuntimeError) as error:
        lines = str(error).strip().splitlines()
        missing[client.name] = next((line for line in reversed(lines) if "Error" in line), lines[-1])
        return False
    return True


def follow(clients: list[Client], rounds: int, plan: Callable[[Client], Plan], into: Samples) -> None:
    """Every client in turn, round after round, so that what else happens on the machine hits all."""
    for turn in range(rounds):
        for client in clients:
            progress(f"  round {turn + 1} of {rounds}: {client.name}")
            answer = json.loads(call([*client.command, json.dumps(plan(client))]).stdout)
            mine = into.setdefault(client.name, {})
            for taken in answer["taken"]:
                mine.setdefault(key(taken["op"], taken["count"]), []).append(taken)
            if answer.get("construct"):
                first, *others = answer["construct"]
                mine.setdefault("construct", []).append({"first": first, "wall": statistics.median(others)})


def key(op: str, count: int) -> str:
    return f"{op} {count}" if count else op


def settle(samples: Samples) -> dict[str, dict[str, dict[str, float]]]:
    """Times of the round that was disturbed least: what else runs only ever adds. Else medians."""

    def reduce(all_taken: list[dict[str, Any]]) -> dict[str, float]:
        fields = [name for name, value in all_taken[0].items() if isinstance(value, int | float)]
        return {
            name: (min if name in TIMES else statistics.median)([taken[name] for taken in all_taken]) for name in fields
        }

    return {client: {op: reduce(taken) for op, taken in ops.items()} for client, ops in samples.items()}


def imports(clients: list[Client], quick: bool) -> dict[str, dict[str, float]]:
    """Milliseconds and MB above the same interpreter that loads nothing."""
    results = {}
    loads = [client for client in clients if client.load]
    for client in list(loads):
        if client.command[0] == "node":
            package = Path(client.command[-1])
            main = json.loads((package / "package.json").read_text())
            entry = main["exports"]["."]
            entry = entry.get("import", entry)
            entry = entry.get("default", entry) if isinstance(entry, dict) else entry
            module = ["node", "--input-type=module", "-e"]
            load = [*module, f"import {str(package / entry)!r}"]
            loads.append(Client(f"{client.name} (ESM)", client.command, load, [*module, "0"]))
    for client in loads:
        progress(f"  {client.name}")
        slow = client.name.startswith("official")
        reps = (2 if slow else 8) if quick else (4 if slow else 25)
        walls: tuple[list[float], list[float]] = ([], [])
        cpus: tuple[list[float], list[float]] = ([], [])
        for _ in range(reps):
            for index, command in enumerate((client.nothing, client.load)):
                begin, used = time.perf_counter(), children_cpu()
                call(command)
                walls[index].append((time.perf_counter() - begin) * 1e3)
                cpus[index].append((children_cpu() - used) * 1e3)
        peaks = [statistics.median(peak_kib(command) for _ in range(3)) for command in (client.nothing, client.load)]
        results[client.name] = {
            "base_ms": min(walls[0]),
            "ms": min(walls[1]) - min(walls[0]),
            "cpu_ms": min(cpus[1]) - min(cpus[0]),
            "mb": (peaks[1] - peaks[0]) / 1024,
        }
    return results


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peak_kib(command: list[str]) -> int:
    """What wait() says of a child counts the parent that it came from; so the child says it."""
    if command[0] == "node":
        # A module only resolves its imports first when they are written first.
        show = "process.stdout.write(process.getBuiltinModule('fs').readFileSync('/proc/self/status','utf8'))"
        text = [*command[:-1], f"{command[-1]}; {show}"]
    else:
        text = [*command[:-1], f"{command[-1]}\nprint(open('/proc/self/status').read())"]
    for line in call(text).stdout.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def op(name: str, reps: int, count: int = 0, seconds: float = 0, warm: int = 0) -> dict[str, Any]:
    return {"op": name, "count": count, "reps": reps, "seconds": seconds, "warm": warm}


def call_ops(quick: bool) -> list[dict[str, Any]]:
    reps, seconds = (2, 0.3) if quick else (3, 0.6)
    return [
        op("exec", 200, 0, seconds, 20),
        op("burst", 2, 1000, seconds, 1),
        op("upload_small", reps, 1000, seconds / 2, 1),
        op("download_small", reps, 1000, seconds / 2, 1),
        op("list", reps, 100, seconds / 2, 1),
        op("list", reps, 1000, seconds / 2, 1),
    ]


# What fills memory comes last, so that it does not count as there before.
TRANSFERS = [
    op(name, 1) for name in ("upload_stream", "download_stream", "upload_file", "download_file", "download_memory")
]


def stream_ops(quick: bool, slow: bool) -> list[dict[str, Any]]:
    """A slow client follows a fifth: what counts are bytes a second."""
    mb = (20 if quick else 100) // (5 if slow else 1)
    return [
        op("interpret", 20, 0, 0 if quick else 0.5, 3),
        op("pty_echo", 1, 200, 0 if quick else 0.5),
        op("log_lines", 1, mb),
        op("log_frames", 1, mb),
        op("pty_output", 1, mb),
    ]


def server_stream_ops(quick: bool, slow: bool) -> list[dict[str, Any]]:
    mb = (20 if quick else 100) // (5 if slow else 1)
    return [op("interpret", 20, 0, 0, 3), op("pty_echo", 1, 200), op("log_frames", 1, mb)]


def server_ops(quick: bool) -> list[dict[str, Any]]:
    reps = 1 if quick else 2
    return [
        op("exec", 20 if quick else 60, 0, 0, 3),
        op("upload_small", reps, 1000, 0, 1),
        op("download_small", reps, 1000, 0, 1),
        *TRANSFERS,
    ]


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def section(name: str, seconds: dict[str, float]) -> Iterator[None]:
    progress(name)
    begin = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begin, 1)


def measure(quick: bool, only: set[str], scratch: Path) -> dict[str, Any]:
    missing: dict[str, str] = {}
    clients = [client for client in ALL if present(client, missing)]
    results: dict[str, Any] = {"machine": machine(), "quick": quick, "missing": missing}
    seconds: dict[str, float] = results.setdefault("seconds", {})
    local = scratch / "source"
    with local.open("wb") as file:
        for _ in range(LARGE // 2**20):
            file.write(os.urandom(2**20))

    def plan(server: servers.Server, ops: list[dict[str, Any]]) -> Callable[[Client], Plan]:
        return lambda client: {
            "api_url": server.url,
            "key": server.key,
            "sandbox": server.sandbox,
            "bytes": LARGE,
            "local": str(local),
            "target": str(scratch / f"target-{client.name}"),
            "ops": ops,
        }

    def streams(server: servers.Server, client: Client, ops: Callable[[bool, bool], list[dict[str, Any]]]) -> Plan:
        return plan(server, ops(quick, client.name.startswith("official")))(client)

    def wanted(name: str) -> bool:
        return not only or name in only

    if wanted("imports"):
        with section("imports", seconds):
            results["imports"] = imports(clients, quick)
    samples: Samples = {}
    if wanted("calls"):
        with servers.stub(BENCH) as stub, section("calls, stub server", seconds):
            follow(clients, 1 if quick else 3, plan(stub, call_ops(quick)), samples)
    if wanted("transfers"):
        with servers.stub(BENCH) as stub, section("transfers, stub server", seconds):
            follow(clients, 1 if quick else 3, plan(stub, TRANSFERS), samples)
    if wanted("streams"):
        with servers.stub(BENCH) as stub, section("logs, terminals, interpreter, stub server", seconds):
            follow(clients, 1 if quick else 3, lambda client: streams(stub, client, stream_ops), samples)
    if wanted("many"):
        with servers.stub(BENCH) as stub, section("10,000 at once, stub server", seconds):
            ours = [client for client in clients if client.name in OURS]
            follow(ours, 1, plan(stub, [op("burst", 1, 10_000)]), samples)
    results["stub"] = settle(samples)
    binary = Path(os.environ.get("BENCH_SERVER", ROOT / "target/release/daytona-native"))
    on_server: Samples = {}
    if not binary.exists():
        missing["server"] = f"there is no {binary.name}: cargo build --release -p daytona-native"
        return results
    if wanted("server"):
        with servers.local(binary) as server, section("calls and transfers, local server", seconds):
            server.sandbox = server.create()
            results["runtime"] = server.runtime
            follow(clients, 1 if quick else 2, plan(server, server_ops(quick)), on_server)
    if wanted("streams"):
        with servers.local(binary) as server, section("logs, terminals, interpreter, local server", seconds):
            server.sandbox = server.create()
            results["runtime"] = server.runtime
            follow(clients, 1 if quick else 2, lambda client: streams(server, client, server_stream_ops), on_server)
    results["server"] = settle(on_server)
    if wanted("start"):
        with servers.local(binary) as server, section("sandbox start", seconds):
            results["start"] = servers.start(BENCH, server, 30 if quick else 100)
            results["start"]["runtime"] = server.runtime
    if wanted("images"):
        with section("images", seconds):
            try:
                results["images"] = images.measure(binary, image_client, quick)
            except images.MissingError as reason:
                missing["images"] = str(reason)
    if wanted("memory"):
        for count in (100,) if quick else (100, 1000):
            with servers.local(binary) as server, section(f"{count} idle sandboxes", seconds):
                results.setdefault("memory", {})[str(count)] = servers.idle(BENCH, server, count)
    return results


def image_client(server: servers.Server, plan: dict[str, Any]) -> dict[str, list[float]]:
    # This server does send events, and who waits for a build is told by them.
    events = {name: value for name, value in environment().items() if name != "DAYTONA_USE_DEPRECATED_POLLING"}
    plan = plan | {"api_url": server.url, "key": server.key}
    taken: dict[str, list[float]] = json.loads(
        call([PYTHON, str(CLIENTS / "images.py"), json.dumps(plan)], events).stdout
    )
    return taken


def machine() -> dict[str, Any]:
    def version(command: str) -> str:
        return call([command, "--version"]).stdout.strip().removeprefix("Python ").removeprefix("v")

    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "python": version(PYTHON),
        "node": version("node"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything, in two minutes")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=("imports", "calls", "transfers", "streams", "many", "server", "start", "images", "memory"),
        help="leave the other parts out",
    )
    given = parser.parse_args()
    # In memory where there is one: the clients are measured, not the disk.
    shm = Path("/dev/shm")
    place = shm if shm.is_dir() and shutil.disk_usage(shm).free > 4 * LARGE else None
    with tempfile.TemporaryDirectory(prefix="daytona-bench-", dir=place) as scratch:
        results = measure(given.quick, set(given.only), Path(scratch))
    into = ROOT / "target/bench"
    into.mkdir(parents=True, exist_ok=True)
    (into / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    text = report.markdown(results)
    (into / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
