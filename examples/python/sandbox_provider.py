# Run it: python examples/python/sandbox_provider.py
"""A sandbox for a worker: provisioned, watched, and terminated by its handle.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import json
import os

from daytona_native import SandboxProvider

WORKER = ["sh", "-c", "for n in 1 2 3; do echo step $n of $JOB; sleep 0.2; done"]


def main() -> None:
    """Run the steps."""
    spec: dict[str, object] = {"env": {"JOB": "the example"}, "timeoutSec": 600}
    if not os.environ.get("DAYTONA_API_KEY"):
        os.environ["DAYTONA_API_URL"] = "local"
        spec["snapshot"] = "host"
    provider = SandboxProvider({"image": "debian:12", "command": WORKER})
    handle = provider.provision(spec)
    try:
        # Any process may go on with it.
        kept = json.dumps(handle.model_dump())
        print(kept)
        print(provider.status(json.loads(kept)))
        for chunk in provider.stream_logs(handle):
            print(chunk.text, end="")
        print(provider.capabilities())
    finally:
        provider.terminate(handle, force=True)
    print(provider.status(handle))


if __name__ == "__main__":
    main()
