"""Tables of what was measured, as ratios, and the bars."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bars import bars

LABELS = {
    "bare": "bare reqwest",
    "core": "our core, from Rust",
    "python": "ours, Python",
    "python-async": "ours, Python async",
    "node": "ours, Node",
    "official-python": "official Python",
    "official-python-async": "official Python async",
    "official-node": "official TypeScript",
}
LARGE_MB = 256 * 1.048576
TRANSFERS = ("upload_file", "upload_stream", "download_file", "download_memory", "download_stream")

Cells = Iterable[str]
Measured = dict[str, dict[str, dict[str, float]]]


def table(head: Cells, rows: Iterable[Cells]) -> str:
    grid = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in grid) for column in range(len(grid[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in grid
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """With so many significant digits, and none after the point that says nothing."""
    if value is None or value != value:
        return "-"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    parts = [
        f"{machine['system']}, {machine['cpus']} CPUs, Python {machine['python']}, Node {machine['node']}"
        f"{'; quick run' if results['quick'] else ''}\n"
    ]
    parts += [f"Not measured: {LABELS.get(name, name)}: {reason}\n" for name, reason in results["missing"].items()]
    if results.get("imports"):
        parts.append(imports_table(results))
    if any("exec" in ops for ops in results["stub"].values()):
        parts += calls_tables(results["stub"])
    for server, title in (("stub", "stub server"), ("server", "local server")):
        if any("upload_file" in ops for ops in results.get(server, {}).values()):
            parts.append(transfers_table(results[server], title))
    for server, title in (("stub", "stub server"), ("server", "local server")):
        if any("interpret" in ops for ops in results.get(server, {}).values()):
            parts.append(streams_table(results[server], title))
    if any("exec" in ops for ops in results.get("server", {}).values()):
        parts.append(server_calls_table(results["server"]))
    parts += server_tables(results)
    parts.append("## Bars\n\n" + bars_table(results))
    return "\n".join(parts)


def imports_table(results: dict[str, Any]) -> str:
    rows = []
    for name, taken in results["imports"].items():
        construct = results["stub"].get(name.removesuffix(" (ESM)"), {}).get("construct")
        label = LABELS[name.removesuffix(" (ESM)")] + (" (ESM)" if name.endswith("(ESM)") else "")
        if name == "node" or name == "official-node":
            label += " (CommonJS)"
        rows.append(
            [
                label,
                number(taken["base_ms"]),
                number(taken["ms"]),
                number(taken["cpu_ms"]),
                number(taken["mb"]),
                number(construct["first"] * 1e3) if construct else "-",
                number(construct["wall"] * 1e3) if construct else "-",
            ]
        )
    head = [
        "",
        "bare interpreter ms",
        "import ms above it",
        "CPU ms above it",
        "MB above it",
        "first constructor ms",
        "constructor ms",
    ]
    return "## Import\n\n" + table(head, rows)


def calls_tables(stub: Measured) -> list[str]:
    bare = stub.get("bare", {})

    def ratio(value: float, other: float | None) -> str:
        return number(value / other) if other else "-"

    rows, small, burst = [], [], bare.get("burst 1000", {}).get("wall")
    for name, ops in stub.items():
        if "exec" not in ops:
            continue
        one, many = ops["exec"], ops["burst 1000"]
        rows.append(
            [
                LABELS[name],
                number(one["cpu"] * 1e6),
                ratio(one["cpu"], bare.get("exec", {}).get("cpu")),
                number(one["p50"] * 1e6),
                number(1000 / many["wall"]),
                number(burst / many["wall"]) if burst else "-",
                number(many["cpu"]),
            ]
        )
        cells = [LABELS[name]]
        for op in ("upload_small 1000", "download_small 1000", "list 100", "list 1000"):
            cells += [number(ops[op]["cpu"] * 1e3), ratio(ops[op]["cpu"], bare.get(op, {}).get("cpu"))]
        small.append(cells)
    head = ["", "exec CPU us", "x bare", "exec p50 us", "1,000 at once calls/s", "x bare", "CPU s"]
    texts = ["## exec, one after another and 1,000 at once (stub server, CPU of the client)\n\n" + table(head, rows)]
    head = ["", "1,000 files up, CPU ms", "x bare", "down, CPU ms", "x bare"]
    head += ["list of 100, CPU ms", "x bare", "list of 1,000, CPU ms", "x bare"]
    texts.append("## Small files and lists (stub server, CPU of the client)\n\n" + table(head, small))
    tens = [(name, ops["burst 10000"]) for name, ops in stub.items() if "burst 10000" in ops]
    if tens:
        lines = [
            [LABELS[name], number(ten["peak_kib"] / 1024), number((ten["peak_kib"] - ten["base_kib"]) / 1024)]
            for name, ten in tens
        ]
        head = ["", "peak RSS MB", "above the idle client MB"]
        texts.append("## 10,000 at once (stub server)\n\n" + table(head, lines))
    return texts


def transfers_table(measured: Measured, title: str) -> str:
    rows, cpus = [], []
    for name, ops in measured.items():
        if not all(op in ops for op in TRANSFERS):
            continue
        cpus.append([LABELS[name], *(number(ops[op]["cpu"]) for op in TRANSFERS)])
        cells = [LABELS[name]]
        for op in TRANSFERS:
            taken = ops[op]
            above = (taken["peak_kib"] - taken["base_kib"]) / 1024
            cells.append(f"{number(LARGE_MB / taken['wall'])} (+{max(above, 0):.0f})")
        rows.append(cells)
    head = ["", "up from file", "up from stream", "down to file", "down to memory", "down as stream"]
    return (
        f"## 256 MiB, MB/s and peak RSS above the idle client in MB ({title})\n\n{table(head, rows)}\n"
        f"Client CPU, seconds:\n\n{table(head, cpus)}"
    )


def streams_table(measured: Measured, title: str) -> str:
    rows, rates = [], ("log_lines", "log_frames", "pty_output")
    for name, ops in measured.items():
        if "interpret" not in ops:
            continue
        cells = [LABELS[name]]
        for op in rates:
            found = next(((int(key.split()[1]), taken) for key, taken in ops.items() if key.startswith(op)), None)
            cells.append("-" if found is None else number(found[0] / found[1]["wall"]))
            above = 0 if found is None else (found[1]["peak_kib"] - found[1]["base_kib"]) / 1024
            cells.append("-" if found is None else number(max(above, 0)))
        echo, run = ops["pty_echo 200"], ops["interpret"]
        cells += [number(echo["wall"] / 200 * 1e6), number(echo["cpu"] / 200 * 1e6)]
        cells += [number(run["p50"] * 1e6), number(run["cpu"] * 1e6)]
        rows.append(cells)
    head = ["", "log, a line a frame, MB/s", "peak +MB", "log, 32 KiB frames, MB/s", "peak +MB"]
    head += ["PTY output, MB/s", "peak +MB", "PTY echo us", "CPU us", "interpreter round trip us", "CPU us"]
    return f"## Logs, terminals, interpreter ({title})\n\n{table(head, rows)}"


def server_calls_table(measured: Measured) -> str:
    rows = []
    for name, ops in measured.items():
        if "exec" not in ops:
            continue
        cells = [LABELS[name], number(ops["exec"]["p50"] * 1e3), number(ops["exec"]["cpu"] * 1e6)]
        for op in ("upload_small 1000", "download_small 1000"):
            cells += [number(ops[op]["wall"] * 1e3), number(ops[op]["cpu"] * 1e3)]
        rows.append(cells)
    head = ["", "exec p50 ms", "client CPU us", "1,000 files up ms", "client CPU ms", "down ms", "client CPU ms"]
    return "## Calls to the local server\n\n" + table(head, rows)


def server_tables(results: dict[str, Any]) -> list[str]:
    texts = []
    if start := results.get("start"):
        rows = [
            ["sandbox, create to first exec result", number(start["ready"]), number(start["ready"] / start["echo"])],
            ["  95th percentile", number(start["ready_p95"]), number(start["ready_p95"] / start["echo"])],
            ["  the create alone", number(start["create"]), number(start["create"] / start["echo"])],
            ["  a second exec", number(start["second_exec"]), number(start["second_exec"] / start["echo"])],
            ["  delete, until it is gone", number(start["delete"]), number(start["delete"] / start["echo"])],
            ["fork and exec of /bin/echo", number(start["echo"]), "1"],
        ]
        if start["bwrap"]:
            ratio = number(start["bwrap"] / start["echo"])
            rows.append(["bubblewrap, read-only host view, /bin/echo", number(start["bwrap"]), ratio])
        else:
            rows.append(["bubblewrap: skipped, not installed", "-", "-"])
        title = f"## Sandbox start (local server, runtime {start['runtime']}, median of {start['count']})\n\n"
        texts.append(title + table(["", "ms", "x /bin/echo"], rows))
    if images := results.get("images"):
        texts += images_tables(images)
    if memory := results.get("memory"):
        rows = [
            [
                number(idle["count"], 4),
                number(idle["pss_mib"]),
                number(idle["server_mib"]),
                number(idle["machine_mib"]),
                number(idle["processes"]),
                number(idle["count"] / idle["seconds"]),
                number(idle["exec_ms"]),
            ]
            for idle in memory.values()
        ]
        head = ["idle sandboxes", "PSS MiB each", "server MiB each", "machine MiB each", "processes each"]
        head += ["started/s, 4 at once", "exec in one ms"]
        texts.append("## Memory of idle sandboxes (local server)\n\n" + table(head, rows))
    return texts


def images_tables(images: dict[str, Any]) -> list[str]:
    pull, start = images["pull"], images["start"]
    labels = {
        "ours": "ours: downloaded, verified, unpacked, on the disk",
        "skopeo": "skopeo copy: downloaded, verified",
        "skopeo and tar": "skopeo copy, then tar -xz",
    }
    rows = [
        [
            labels[name],
            number(taken),
            number(images["packed_mb"] / taken),
            number(images["unpacked_mb"] / taken),
            number(pull["skopeo and tar"] / taken),
        ]
        for name, taken in pull.items()
    ]
    head = ["", "s", "packed MB/s", "unpacked MB/s", "x skopeo and tar"]
    sizes = f"{number(images['packed_mb'])} MB packed, {number(images['unpacked_mb'])} MB unpacked"
    texts = [f"## Cold pull from a registry on loopback ({sizes})\n\n{table(head, rows)}"]
    labels = {
        "host view": "the host's view (plain create)",
        "pulled": "a snapshot of the image",
        "built": "a snapshot that was built",
        "image": "the image, pulled before",
        "build": "a build whose steps are all cached",
    }
    plain, built = start["host view"], start["built"]
    rows = [
        [
            labels[kind],
            number(taken * 1e3),
            number(taken / plain),
            number(taken / built),
            number(images["start_median"][kind] * 1e3),
        ]
        for kind, taken in start.items()
    ]
    head = ["", "ms", "x the host's view", "x the built snapshot", "median ms"]
    title = "## Start from images, create to first exec result (local server, runtime ns, "
    title += f"lower quartile of {images['count']})"
    return [*texts, f"{title}\n\n{table(head, rows)}"]


def bars_table(results: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    causes: dict[str, list[str]] = {}
    for bar in bars(results):
        if bar.reached is None:
            rows.append([bar.name, bar.target, "not measured", ""])
            continue
        kept = bar.reached <= bar.limit if bar.at_most else bar.reached >= bar.limit
        rows.append([bar.name, bar.target, number(bar.reached) + bar.unit, "yes" if kept else "NO"])
        if not kept:
            causes.setdefault(bar.cause, []).append(bar.name)
    text = table(["", "bar", "reached", "kept"], rows)
    lines = [f"- {'; '.join(dict.fromkeys(names))}: {cause}.\n" for cause, names in causes.items()]
    return f"{text}\nWhat falls short, and why:\n\n{''.join(lines)}" if lines else text
