"""Times what a user waits for with images, by our client: pulls, starts, and builds from the cache."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from daytona_native import (
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    Daytona,
    DaytonaConfig,
    Image,
)


def main() -> None:
    plan = json.loads(sys.argv[1])
    daytona = Daytona(DaytonaConfig(api_url=plan["api_url"], api_key=plan["key"]))
    begin = time.perf_counter()
    daytona.snapshot.create(CreateSnapshotParams(name="pulled", image=plan["image"]))
    taken: dict[str, list[float]] = {"pull": [time.perf_counter() - begin]}
    if plan["rounds"]:
        taken |= starts(daytona, plan["image"], plan["rounds"])
    print(json.dumps(taken))


def starts(daytona: Daytona, image: str, rounds: int) -> dict[str, list[float]]:
    """Each kind in turn, round after round, from the create to the first command's output."""
    built = (
        Image.base(image)
        .env({"A": "b"})
        .workdir("/srv/app")
        .run_commands("echo one > one", "echo two > two")
        .cmd(["sleep", "infinity"])
    )
    daytona.snapshot.create(CreateSnapshotParams(name="built", image=built))
    snapshot = lambda name: lambda: daytona.create(CreateSandboxFromSnapshotParams(snapshot=name))  # noqa: E731
    kinds: dict[str, Callable[[], Any]] = {
        "host view": daytona.create,
        "pulled": snapshot("pulled"),
        "built": snapshot("built"),
        "image": lambda: daytona.create(CreateSandboxFromImageParams(image=image)),
        "build": lambda: daytona.create(CreateSandboxFromImageParams(image=built)),
    }
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(rounds + 1):
        # In no order, and each after the last one's end, so that nobody pays for what another left.
        for kind, create in random.sample(list(kinds.items()), len(kinds)):
            begin = time.perf_counter()
            sandbox = create()
            answer = sandbox.process.exec("echo hi")
            done = time.perf_counter() - begin
            if answer.result != "hi\n":
                raise RuntimeError(f"{kind}: {answer.result!r}")
            daytona.delete(sandbox, wait=True)
            if turn:
                taken[kind].append(done)
    return taken


if __name__ == "__main__":
    main()
