# Run it: python examples/python/ephemeral.py
"""Makes sandboxes that clean up after themselves.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import CreateSandboxFromSnapshotParams, Daytona, DaytonaNotFoundError


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        # Stops after five idle minutes, is deleted when it stops, and lives for an hour at most.
        params = CreateSandboxFromSnapshotParams(ephemeral=True, auto_stop_interval=5, ttl_minutes=60)
        sandbox = daytona.create(params)
        print("made:", sandbox.auto_delete_interval == 0, sandbox.auto_destroy_at is not None)
        print(sandbox.process.exec("echo quick").result.strip())
        sandbox.stop()
        try:
            daytona.get(sandbox.id)
        except DaytonaNotFoundError:
            print("gone with its stop")


if __name__ == "__main__":
    main()
