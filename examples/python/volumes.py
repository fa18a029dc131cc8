# Run it: python examples/python/volumes.py
"""Shares files between sandboxes through a volume that outlives them.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os
import time
import uuid

from daytona_native import CreateSandboxFromSnapshotParams, Daytona, VolumeMount


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        volume = daytona.volume.create(f"example-{uuid.uuid4().hex[:8]}")
        while volume.state != "ready":
            time.sleep(0.5)
            volume = daytona.volume.get(volume.name)
        mount = VolumeMount(volume_id=volume.id, mount_path="/home/daytona/shared")
        params = CreateSandboxFromSnapshotParams(volumes=[mount])
        try:
            writer = daytona.create(params)
            writer.process.exec("echo 'written by the first' > shared/note.txt")
            writer.delete(wait=True)
            reader = daytona.create(params)
            print(reader.fs.download_file("shared/note.txt").decode().strip())
            reader.delete(wait=True)
        finally:
            daytona.volume.delete(volume)


if __name__ == "__main__":
    main()
