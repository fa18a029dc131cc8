"""Builds an image with a Python client, and says what came of it: `client.py MODULE URL KEY IMAGE FOLDER NAME`.

The answer is one JSON object on the standard output: what the sandboxes have, and the logs that the client was told.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

SEEN = (
    "pwd; cat /built; python -c 'import os, six; print(six.__name__, os.environ[\"WORD\"])'; "
    "cat main.txt sub/other.txt; stat -c %a run.sh"
)


def main(module: str, url: str, key: str, base: str, folder: str, name: str) -> None:
    client: Any = importlib.import_module(module)
    daytona = client.Daytona(client.DaytonaConfig(api_url=url, api_key=key))
    image = (
        client.Image.base(base)
        .env({"PIP_BREAK_SYSTEM_PACKAGES": "1", "WORD": "two words"})
        .run_commands("echo built > /built", "test -f /built")
        .pip_install(["six"])
        .workdir("/app")
        .add_local_dir(folder, "/app")
    )
    from_image = client.CreateSandboxFromImageParams
    plain = daytona.create(from_image(image=base), timeout=200)
    logs: list[str] = []
    begun = time.monotonic()
    built = daytona.create(from_image(image=image), timeout=200, on_snapshot_create_logs=logs.append)
    taken = time.monotonic() - begun
    snapshot_logs: list[str] = []
    params = client.CreateSnapshotParams(name=name, image=image)
    snapshot = daytona.snapshot.create(params, on_logs=snapshot_logs.append)
    begun = time.monotonic()
    of_snapshot = daytona.create(client.CreateSandboxFromSnapshotParams(snapshot=name))
    of_snapshot_taken = time.monotonic() - begun
    begun = time.monotonic()
    view = daytona.create()
    answer = {
        "plain": plain.process.exec("cut -d. -f1 /etc/debian_version").result,
        "built": built.process.exec(SEEN).result,
        "snapshot": of_snapshot.process.exec(SEEN).result,
        "state": str(getattr(snapshot.state, "value", snapshot.state)),
        "logs": "\n".join(logs),
        "snapshotLogs": "\n".join(snapshot_logs),
        "seconds": {"image": taken, "snapshot": of_snapshot_taken, "host": time.monotonic() - begun},
    }
    for sandbox in (plain, built, of_snapshot, view):
        sandbox.delete()
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
