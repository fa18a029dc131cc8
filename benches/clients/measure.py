"""Time, CPU and memory of this process, and the plan that every client follows."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

SMALL = 1024


class Watch:
    """Durations of one operation, and what it cost in all."""

    def __init__(self, op: dict[str, Any]) -> None:
        gc.collect()
        self.op = op
        self.each: list[float] = []
        reset_peak()
        self.base_kib = status_kib("VmRSS")
        self.cpu = cpu()
        self.begin = self.last = time.perf_counter()

    def note(self) -> None:
        now = time.perf_counter()
        self.each.append(now - self.last)
        self.last = now

    def goes_on(self) -> bool:
        seconds = self.last - self.begin
        return len(self.each) < int(self.op["reps"]) or seconds < float(self.op.get("seconds", 0))

    def stop(self) -> dict[str, Any]:
        used = cpu() - self.cpu
        reps = len(self.each)
        return {
            "op": self.op["op"],
            "count": self.op.get("count", 0),
            "reps": reps,
            "wall": (self.last - self.begin) / reps,
            "cpu": used / reps,
            "p50": statistics.median(self.each),
            "base_kib": self.base_kib,
            "peak_kib": status_kib("VmHWM"),
        }


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def status_kib(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def reset_peak() -> None:
    """Lets the kernel count the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def small(index: int) -> str:
    return f"bench/b{SMALL}-{index}"


def large(plan: dict[str, Any]) -> str:
    return f"bench/b{plan['bytes']}-0"


def list_url(plan: dict[str, Any], count: int) -> str:
    return str(plan["api_url"]).replace("/api", f"/list/{count}/api", 1)


def arguments() -> tuple[str, dict[str, Any]]:
    """The module to measure, and the plan."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--module", required=True)
    parser.add_argument("plan")
    given = parser.parse_args()
    return given.module, json.loads(given.plan)


def check(condition: bool, text: str) -> None:
    if not condition:
        raise SystemExit(f"the measured call went wrong: {text}")


LINE = "l" * 99
ECHO_SETUP = "stty raw -echo; printf 'REA''DY'; cat\n"
ECHO_READY = b"READY"


def log_command(kind: str, mb: int) -> str:
    """The stub looks at its second word, a real shell runs it."""
    return f": {kind}-{mb}; yes {LINE} | head -c {mb}000000"
