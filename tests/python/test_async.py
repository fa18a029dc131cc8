"""The asynchronous client: tasks, cancellation, event loops."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from conftest import Fake, Server, until
from daytona_native import AsyncDaytona, CreateSandboxFromSnapshotParams, DaytonaNotFoundError, ListSandboxesQuery


def test_the_life_of_a_sandbox(server: Server) -> None:
    async def main() -> None:
        async with AsyncDaytona(server.config) as daytona:
            sandbox = await daytona.create(CreateSandboxFromSnapshotParams(labels={"test": "async-life"}))
            assert (await sandbox.process.exec("echo $((6 * 7))")).result == "42\n"
            found = [box.id async for box in daytona.list(ListSandboxesQuery(labels={"test": "async-life"}))]
            assert found == [sandbox.id]
            assert await sandbox.set_labels({"a": "b"})
            assert sandbox.labels["a"] == "b"
            await daytona.delete(sandbox, wait=True)
            with pytest.raises(DaytonaNotFoundError):
                await sandbox.refresh_data()

    asyncio.run(main())


def test_methods_are_coroutine_functions() -> None:
    from daytona_native import AsyncFileSystem, AsyncProcess, AsyncSandbox

    for cls in (AsyncProcess, AsyncFileSystem, AsyncSandbox):
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            # With the official client these ask nobody either.
            if not name.startswith("_") and name not in ("model_dump", "to_dict", "create_lsp_server"):
                assert inspect.iscoroutinefunction(method), name


def test_nothing_starts_before_it_is_awaited(fake: Fake, fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        sent = len(fake.requests)
        coroutine = sandbox.process.exec("later")
        await asyncio.sleep(0)
        await sandbox.process.exec("first")
        assert len(fake.requests) == sent + 1
        assert (await coroutine).result == "later"

    asyncio.run(main())


def test_a_cancelled_task_drops_the_request(fake: Fake, fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        task = asyncio.create_task(sandbox.process.exec("block"))
        await until(fake.blocked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(fake.left)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sandbox.process.exec("block"), 0.05)
        await until(fake.blocked)
        await until(fake.left)
        assert (await sandbox.process.exec("after")).result == "after"

    asyncio.run(main())


def test_a_forgotten_coroutine_drops_the_request(fake: Fake, fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        coroutine = sandbox.process.exec("block")
        coroutine.send(None)
        await until(fake.blocked)
        coroutine.close()
        await until(fake.left)

    asyncio.run(main())


def test_many_at_once(fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        answers = await asyncio.gather(*(sandbox.process.exec(f"say {n}") for n in range(300)))
        assert [answer.result for answer in answers] == [f"say {n}" for n in range(300)]

    asyncio.run(main())


def test_finished_calls_are_handed_over_in_batches(fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        sandbox = await fake_async.get("box")
        await sandbox.process.exec("make the queue")
        loop: Any = asyncio.get_running_loop()
        finished: list[object] = []
        selected: list[int] = []
        select = loop._selector.select

        def counting(timeout: float | None) -> Any:
            selected.append(len(finished))
            return select(timeout)

        loop._selector.select = counting
        tasks = [asyncio.create_task(sandbox.process.exec("x")) for _ in range(200)]
        for task in tasks:
            task.add_done_callback(finished.append)
        await asyncio.wait(tasks)
        loop._selector.select = select
        steps = [after - before for before, after in zip(selected, [*selected[1:], len(finished)], strict=True)]
        assert sum(steps) == 200
        assert max(steps) > 1

    asyncio.run(main())


def test_one_loop_after_another_and_two_at_once(fake_async: AsyncDaytona) -> None:
    async def main(text: str) -> str:
        return (await (await fake_async.get("box")).process.exec(text)).result

    for n in range(3):
        assert asyncio.run(main(f"loop {n}")) == f"loop {n}"
    results: list[str] = []
    threads = [threading.Thread(target=lambda n=n: results.append(asyncio.run(main(f"{n}")))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == ["0", "1", "2", "3"]


def test_loops_leave_no_descriptors_behind(fake_async: AsyncDaytona) -> None:
    async def main() -> None:
        await fake_async.get("box")

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/dev/fd"))

    asyncio.run(main())

    def grows() -> bool:
        before = descriptors()
        for _ in range(20):
            asyncio.run(main())
        return descriptors() > before

    # While a connection is on its way back to the pool a call may open another, which is then there for all to come.
    assert not all(grows() for _ in range(5))


def test_a_loop_that_closes_with_calls_under_way(fake: Fake, fake_async: AsyncDaytona) -> None:
    loop = asyncio.new_event_loop()
    sandbox = loop.run_until_complete(fake_async.get("box"))
    coroutine = sandbox.process.exec("block")
    task = loop.create_task(coroutine)
    loop.run_until_complete(until(fake.blocked))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    fake.drop()
    # Its result is for nobody; what comes next is not disturbed.
    assert asyncio.run(fake_async.get("box")).id == "box"
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_an_event_loop_without_descriptors(fake_async: AsyncDaytona) -> None:
    class Loop(asyncio.SelectorEventLoop):
        def add_reader(self, *_: object) -> None:
            raise NotImplementedError

    loop = Loop()

    async def main() -> list[str]:
        sandbox = await fake_async.get("box")
        return [answer.result for answer in await asyncio.gather(*(sandbox.process.exec(f"{n}") for n in range(20)))]

    assert loop.run_until_complete(main()) == [f"{n}" for n in range(20)]
    loop.close()


def test_the_end_of_the_program(fake: Fake) -> None:
    code = """
import asyncio
from daytona_native import AsyncDaytona
async def main():
    box = await AsyncDaytona().get("box")
    tasks = [asyncio.create_task(box.process.exec("block")) for _ in range(4)]
    await asyncio.sleep(0.05)
    raise SystemExit(5)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=fake.environment(), capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork(fake_async: AsyncDaytona) -> None:
    async def main(text: str) -> str:
        return (await (await fake_async.get("box")).process.exec(text)).result

    assert asyncio.run(main("parent")) == "parent"
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if asyncio.run(main("child")) == "child" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(main("parent again")) == "parent again"
