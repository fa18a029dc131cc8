# Run it: python examples/python/quickstart_async.py
"""Runs programs in several sandboxes at once, streams a large file, and stops what takes too long.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

from daytona_native import AsyncDaytona, AsyncSandbox

PIECE = b"0123456789abcdef" * 4096
PIECES = 64


async def pieces() -> AsyncIterator[bytes]:
    """Make a file of 4 MiB that is never in memory as a whole."""
    for _ in range(PIECES):
        yield PIECE


async def work(sandbox: AsyncSandbox, number: int) -> str:
    """Run one program."""
    answer = await sandbox.process.code_run(f"print({number}, 'squared is', {number} ** 2)")
    return answer.result.strip()


async def main() -> None:
    """Run the steps."""
    on_daytona = bool(os.environ.get("DAYTONA_API_KEY"))
    print("On Daytona" if on_daytona else "On a local server")
    begin = time.perf_counter()

    def say(text: str) -> None:
        print(f"{(time.perf_counter() - begin) * 1000:8.1f} ms  {text}", flush=True)

    async with AsyncDaytona() if on_daytona else AsyncDaytona.local() as daytona:
        sandboxes = await asyncio.gather(*(daytona.create() for _ in range(3)))
        try:
            say(f"created {len(sandboxes)} sandboxes")
            for result in await asyncio.gather(*(work(box, n) for n, box in enumerate(sandboxes, 7))):
                say(result)
            fs = sandboxes[0].fs
            await fs.upload_file_stream(pieces(), "large.bin")
            received = 0
            async for piece in await fs.download_file_stream("large.bin"):
                received += len(piece)
            say(f"streamed {received} bytes there and back")
            try:
                await asyncio.wait_for(sandboxes[0].process.exec("sleep 60"), 0.2)
            except asyncio.TimeoutError:
                say("gave up on a command that takes a minute")
        finally:
            await asyncio.gather(*(sandbox.delete() for sandbox in sandboxes))
            say("deleted them")


if __name__ == "__main__":
    asyncio.run(main())
