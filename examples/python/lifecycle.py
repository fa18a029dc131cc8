# Run it: python examples/python/lifecycle.py
"""Takes a sandbox through its life: stops, archives, starts, pauses and deletes it.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import Daytona, DaytonaNotFoundError, DaytonaUnsupportedError


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            sandbox.process.exec("echo kept > note.txt")
            sandbox.stop()
            print("stopped:", sandbox.state)
            sandbox.archive()
            sandbox.start()
            print("after the archive:", sandbox.fs.download_file("note.txt").decode().strip())
            try:
                sandbox.pause()
                print("paused:", sandbox.state)
                sandbox.start()
            except DaytonaUnsupportedError as error:
                print("not here:", error)
            print("labels:", sandbox.set_labels({"stage": "done"}))
        finally:
            sandbox.delete(wait=True)
        try:
            daytona.get(sandbox.id)
        except DaytonaNotFoundError:
            print("deleted")


if __name__ == "__main__":
    main()
