# Run it: python examples/python/from_snapshot.py
"""Prepares a sandbox once, and makes others that begin where it was.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os
import uuid

from daytona_native import CreateSandboxFromSnapshotParams, Daytona


def main() -> None:
    """Run the steps."""
    name = f"prepared-{uuid.uuid4().hex[:8]}"
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        first = daytona.create()
        try:
            first.fs.upload_file(b"print('prepared')\n", "tool.py")
            first.stop()
            first.create_snapshot(name)
        finally:
            first.delete()
        snapshot = daytona.snapshot.get(name)
        try:
            for number in range(2):
                sandbox = daytona.create(CreateSandboxFromSnapshotParams(snapshot=name))
                print(f"sandbox {number}:", sandbox.process.exec("python3 tool.py").result.strip())
                sandbox.delete()
        finally:
            daytona.snapshot.delete(snapshot)


if __name__ == "__main__":
    main()
