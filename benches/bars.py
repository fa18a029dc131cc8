"""What is to be reached, and what is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAIRS = {"python": "official-python", "python-async": "official-python-async", "node": "official-node"}
NAMES = {"python": "Python", "python-async": "Python async", "node": "Node"}
UNKNOWN = "not yet known"
# What is known, by the beginning of a bar's name.
CAUSES = {
    "exec, CPU, Node": "each call wakes the I/O thread and then the event loop; bare reqwest has one thread",
    "exec, CPU, Python async": "each call wakes the I/O thread and then the event loop; bare reqwest has one thread",
    "1,000 at once": "twice the CPU of bare reqwest, on two threads that share two CPUs with the server; with the "
    "server on a CPU of its own and the client on the other it is 0.8 to 0.9x bare",
    "10,000 at once, Node": "51 MB of it is Node with the client; a waiting call holds about 2 KB of Rust future "
    "and 1.5 KB of promises and closures, and V8's heap grows before it collects",
    "256 MiB up from stream, Node": "createReadStream reads 64 KiB at a time on a thread pool, 1.1 GB/s "
    "with nobody to send to; the best official client is the Python one",
    "256 MiB streamed up, Node": "V8 collects pieces late: createReadStream, read and dropped, takes 36 MB by itself",
    "256 MiB streamed down, Node": "each piece is a buffer of V8, which collects them after about 32 MB",
    "list of 1,000, CPU, Node": "a page is read in Rust, written as JSON and read again by V8; the official client "
    "lets V8 read it once",
    "session log, line-sized frames, Node": "the bare websocket client needs about 220 ns a frame, the core 277: "
    "40 times the official client can be more than that client itself reads",
    "build, all cached": "some starts of every kind take 6 ms longer, and how many of each differs from run to run",
    "sandbox ready": "with cgroup v1, a process that joins a cgroup waits about 11 ms for the kernel (RCU); without "
    "cgroups the same machine needs 14 ms, beside 12 for bubblewrap",
}


@dataclass(frozen=True)
class Bar:
    name: str
    limit: float
    at_most: bool
    unit: str
    reached: float | None
    given: str = ""

    @property
    def cause(self) -> str:
        known = [text for name, text in CAUSES.items() if self.name.startswith(name)]
        return "; ".join(text for text in [self.given, *known] if text) or UNKNOWN

    @property
    def target(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}{self.unit}"


def at_most(name: str, limit: float, unit: str, reached: float | None, cause: str = "") -> Bar:
    return Bar(name, limit, True, unit, reached, cause)


def at_least(name: str, limit: float, unit: str, reached: float | None, cause: str = "") -> Bar:
    return Bar(name, limit, False, unit, reached, cause)


def over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


class Measured:
    """One server's figures; what is not there is `None`."""

    def __init__(self, figures: dict[str, dict[str, dict[str, float]]]) -> None:
        self.figures = figures

    def get(self, client: str, op: str, field: str) -> float | None:
        return self.figures.get(client, {}).get(op, {}).get(field)

    def best_official(self, op: str) -> float | None:
        """Seconds of the fastest official client."""
        walls = [self.get(client, op, "wall") for client in PAIRS.values()]
        return min((wall for wall in walls if wall is not None), default=None)

    def rate(self, client: str, op: str) -> float | None:
        """MB/s of an operation whose count are MB, however many they were."""
        ops = self.figures.get(client, {}).items()
        return next((int(key.split()[1]) / taken["wall"] for key, taken in ops if key.split()[0] == op), None)

    def above_mb(self, client: str, op: str) -> float | None:
        """The peak above what the idle client takes."""
        found = self.figures.get(client, {}).get(op)
        return max(found["peak_kib"] - found["base_kib"], 0) / 1024 if found else None


def bars(results: dict[str, Any]) -> Iterator[Bar]:
    stub, server = Measured(results.get("stub", {})), Measured(results.get("server", {}))
    yield from call_bars(stub)
    imports = results.get("imports", {})
    for client, limit in (("python", 15), ("node", 20), ("node (ESM)", 20)):
        name = NAMES.get(client, "Node ESM")
        yield at_most(f"import, {name}", limit, " ms", imports.get(client, {}).get("ms"))
        yield at_most(f"import, {name}, memory", 15, " MB", imports.get(client, {}).get("mb"))
    for client, name in NAMES.items():
        construct = stub.get(client, "construct", "wall")
        yield at_most(f"constructor, {name}", 1, " ms", construct * 1e3 if construct else None)
    yield from transfer_bars(stub, "stub")
    yield from transfer_bars(server, "local server")
    for op, title in (
        ("upload_small 1000", "1,000 files up"),
        ("list 1000", "list of 1,000"),
    ):
        for client, official in PAIRS.items():
            ratio = over(stub.get(official, op, "cpu"), stub.get(client, op, "cpu"))
            yield at_least(f"{title}, CPU, {NAMES[client]}", 10, "x less", ratio)
    yield from stream_bars(stub)
    yield at_most("sandbox ready", 15, " ms", results.get("start", {}).get("ready"))
    starts = results.get("images", {}).get("start", {})
    yield at_most("build, all cached", 1.1, "x a plain create", over(starts.get("build"), starts.get("built")))
    memory = results.get("memory", {})
    yield at_most("idle sandbox, at 1,000", 1.5, " MiB", memory.get("1000", {}).get("pss_mib"))
    for pattern, name in (("*.whl", "wheel"), ("*.tgz", "npm package")):
        sizes = [path.stat().st_size / 1e6 for path in (ROOT / "dist").glob(pattern)]
        yield at_most(f"{name} (make dist)", 15, " MB", max(sizes, default=None))


def stream_bars(stub: Measured) -> Iterator[Bar]:
    for op, title in (("log_lines", "session log, line-sized frames"), ("log_frames", "session log, 32 KiB frames")):
        for client, limit in (("python-async", 15), ("node", 40)):
            ratio = over(stub.rate(client, op), stub.rate(PAIRS[client], op))
            yield at_least(f"{title}, {NAMES[client]}", limit, "x official", ratio)
    rates = [stub.rate(client, "pty_output") for client in PAIRS.values()]
    best = max((rate for rate in rates if rate is not None), default=None)
    for client, name in NAMES.items():
        yield at_least(f"PTY output, {name}", 2, "x best official", over(stub.rate(client, "pty_output"), best))


def call_bars(stub: Measured) -> Iterator[Bar]:
    bare = stub.get("bare", "exec", "cpu")
    for client, limit in (("python", 1.6), ("node", 2.8), ("python-async", 2.8)):
        cpu, name = stub.get(client, "exec", "cpu"), NAMES[client]
        yield at_most(f"exec, CPU, {name}", limit, "x bare", over(cpu, bare))
        yield at_least(f"exec, CPU, {name}", 10, "x less", over(stub.get(PAIRS[client], "exec", "cpu"), cpu))
    bare = stub.get("bare", "burst 1000", "wall")
    for client, limit in (("python-async", 15), ("node", 8)):
        wall, name = stub.get(client, "burst 1000", "wall"), NAMES[client]
        yield at_least(f"1,000 at once, {name}", 0.7, "x bare", over(bare, wall))
        official = stub.get(PAIRS[client], "burst 1000", "wall")
        yield at_least(f"1,000 at once, {name}", limit, "x official", over(official, wall))
    for client in ("python-async", "node"):
        peak = stub.get(client, "burst 10000", "peak_kib")
        yield at_most(f"10,000 at once, {NAMES[client]}", 100, " MB", peak / 1024 if peak else None)


def transfer_bars(measured: Measured, server: str) -> Iterator[Bar]:
    for op, limit, title in (
        ("download_file", 3, "down to file"),
        ("download_memory", 2, "down to memory"),
        ("upload_file", 1, "up from file"),
        ("upload_stream", 1, "up from stream"),
    ):
        official = measured.best_official(op)
        bare = over(official, measured.get("bare", op, "wall"))
        cause = f"bare reqwest reaches {bare:.2g}x" if bare and bare < 1.2 * limit else ""
        for client, name in NAMES.items():
            ratio = over(official, measured.get(client, op, "wall"))
            yield at_least(f"256 MiB {title}, {name} ({server})", limit, "x best official", ratio, cause)
    for op, title in (("upload_stream", "up"), ("download_stream", "down")):
        for client, name in NAMES.items():
            above = measured.above_mb(client, op)
            yield at_most(f"256 MiB streamed {title}, {name}, memory ({server})", 16, " MB", above)
