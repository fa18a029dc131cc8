# Run it: python examples/python/rollouts.py
"""Trains a policy by trial and error: rollouts run in a pool of sandboxes, side by side.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics

from daytona_native import AsyncDaytona, AsyncSandbox, CreateSandboxFromSnapshotParams

WORKERS, ROLLOUTS, ROUNDS = 4, 16, 5

# A cart is pushed towards 10. What an untrusted or crashing environment does stays in its sandbox.
ENVIRONMENT = """
import json, sys

gain, damping = json.loads(sys.argv[1])
position, speed, cost = 0.0, 0.0, 0.0
for _ in range(50):
    speed += 0.1 * (gain * (10 - position) - damping * speed)
    position += 0.1 * speed
    cost += abs(10 - position)
print(-cost)
"""


async def roll_out(pool: asyncio.Queue[AsyncSandbox], policy: tuple[float, float]) -> float:
    """Try a policy in the next sandbox that is free, and give its reward."""
    sandbox = await pool.get()
    try:
        answer = await sandbox.process.exec(f"python3 environment.py '{json.dumps(policy)}'", timeout=30)
        return float(answer.result) if answer.exit_code == 0 else -1e9
    finally:
        pool.put_nowait(sandbox)


async def train(pool: asyncio.Queue[AsyncSandbox]) -> None:
    """Keep the best quarter of the policies, and try others around them."""
    chance = random.Random(1)
    means, spread = [1.0, 1.0], 2.0
    for number in range(ROUNDS):
        policies = [(chance.gauss(means[0], spread), chance.gauss(means[1], spread)) for _ in range(ROLLOUTS)]
        rewards = await asyncio.gather(*(roll_out(pool, policy) for policy in policies))
        best = [policy for _, policy in sorted(zip(rewards, policies, strict=True), reverse=True)[: ROLLOUTS // 4]]
        means, spread = [statistics.mean(values) for values in zip(*best, strict=True)], spread * 0.7
        print(f"round {number}: best reward {max(rewards):.1f}")


async def run() -> None:
    """Make the pool, use it, and clear it."""
    async with AsyncDaytona() if os.environ.get("DAYTONA_API_KEY") else AsyncDaytona.local() as daytona:
        params = CreateSandboxFromSnapshotParams(ephemeral=True, labels={"example": "rollouts"})
        sandboxes = await asyncio.gather(*(daytona.create(params) for _ in range(WORKERS)))
        try:
            pool: asyncio.Queue[AsyncSandbox] = asyncio.Queue()
            for sandbox in sandboxes:
                await sandbox.fs.upload_file(ENVIRONMENT.encode(), "environment.py")
                pool.put_nowait(sandbox)
            await train(pool)
        finally:
            await asyncio.gather(*(sandbox.delete() for sandbox in sandboxes))


def main() -> None:
    """Run the steps."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
