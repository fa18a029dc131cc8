# Run it: python examples/python/fan_out.py
"""Works through many tasks at once, each in a sandbox of its own, with a progress bar.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from daytona_native import AsyncDaytona, CreateSandboxFromSnapshotParams

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
AT_ONCE = 20


async def work(daytona: AsyncDaytona, number: int, gate: asyncio.Semaphore) -> int:
    """Square a number, the long way round."""
    async with gate:
        sandbox = await daytona.create(CreateSandboxFromSnapshotParams(ephemeral=True))
        try:
            return int((await sandbox.process.code_run(f"print({number} ** 2)")).result)
        finally:
            await sandbox.delete()


async def run() -> None:
    """Show how far it is, and check what came."""
    async with AsyncDaytona() if os.environ.get("DAYTONA_API_KEY") else AsyncDaytona.local() as daytona:
        gate = asyncio.Semaphore(AT_ONCE)
        begin = time.perf_counter()
        tasks = [asyncio.create_task(work(daytona, number, gate)) for number in range(TASKS)]
        for done, task in enumerate(asyncio.as_completed(tasks), 1):
            await task
            bar = "#" * (40 * done // TASKS)
            print(f"\r[{bar:<40}] {done}/{TASKS}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        assert [task.result() for task in tasks] == [number**2 for number in range(TASKS)]
        print(f"{TASKS} sandboxes, {AT_ONCE} at a time, in {time.perf_counter() - begin:.1f} s")


def main() -> None:
    """Run the steps."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
