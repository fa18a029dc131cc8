"""What sandboxes use."""

from __future__ import annotations

from ._model import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any


class SandboxMetrics(Record):
    """What a sandbox used at one time.

    Attributes:
        cpu_count: Cores.
        cpu_used_pct: Percent of these.
        disk_total: Bytes.
        disk_used: Bytes.
        mem_total: Bytes.
        mem_used: Bytes.
        mem_cache: Bytes of ``mem_used`` that hold files.
        timestamp: The time.
    """

    cpu_count: int
    cpu_used_pct: float
    disk_total: int
    disk_used: int
    mem_total: int
    mem_used: int
    mem_cache: int
    timestamp: datetime


def read(values: dict[str, Any]) -> SandboxMetrics:
    """Make a sample of the API's."""
    from ._service import snake
    from ._time import parse

    values = snake(values)
    counts = {name: int(value) for name, value in values.items() if name not in ("cpu_used_pct", "timestamp")}
    return SandboxMetrics(**{**values, **counts, "timestamp": parse(values["timestamp"])})
