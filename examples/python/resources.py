# Run it: python examples/python/resources.py
"""Looks at what a sandbox has and uses, and gives it less memory.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os

from daytona_native import Daytona, DaytonaUnsupportedError, Resources


def main() -> None:
    """Run the steps."""
    with Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local() as daytona:
        sandbox = daytona.create()
        try:
            print(f"has {sandbox.cpu} cores, {sandbox.memory} GiB of memory, {sandbox.disk} GiB of disk")
            used = sandbox.get_metrics_latest()
            print(f"uses {used.cpu_used_pct:.0f} % of them and {used.mem_used / 2**20:.0f} MiB")
            sandbox.stop()
            try:
                sandbox.resize(Resources(memory=1))
            except DaytonaUnsupportedError as error:
                print("not here:", error)
            sandbox.start()
            print(f"has {sandbox.memory} GiB now")
        finally:
            sandbox.delete()


if __name__ == "__main__":
    main()
