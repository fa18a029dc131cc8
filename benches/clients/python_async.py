"""Follows a plan with an asynchronous Python client: the official one or ours, they look the same."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from pathlib import Path
from typing import Any

from measure import SMALL, Watch, arguments, check, large, list_url, small


class Client:
    def __init__(self, module: str, plan: dict[str, Any]) -> None:
        self.api: Any = importlib.import_module(module)
        self.plan = plan
        # Named before they are timed: both packages import their classes when asked for.
        self.types = (self.api.AsyncDaytona, self.api.DaytonaConfig)
        self.construct: list[float] = []
        self.clients: list[Any] = []
        for _ in range(5):
            begin = time.perf_counter()
            self.daytona = self.connect(plan["api_url"])
            self.construct.append(time.perf_counter() - begin)
        self.lists = {
            op["count"]: self.connect(list_url(plan, op["count"])) for op in plan["ops"] if op["op"] == "list"
        }
        self.sandbox: Any = None

    def connect(self, api_url: str) -> Any:
        daytona, config = self.types
        client = daytona(config(api_url=api_url, api_key=self.plan["key"]))
        self.clients.append(client)
        return client

    async def exec(self, _count: int = 0) -> None:
        answer = await self.sandbox.process.exec("echo hi")
        check(answer.exit_code == 0, answer.result)

    async def burst(self, count: int) -> None:
        await asyncio.gather(*(self.exec() for _ in range(count)))

    async def upload_small(self, count: int) -> None:
        content = b"\7" * SMALL
        upload = self.api.FileUpload
        files = [upload(source=content, destination=small(index)) for index in range(count)]
        await self.sandbox.fs.upload_files(files)

    async def download_small(self, count: int) -> None:
        request = self.api.FileDownloadRequest
        wanted = [request(source=small(index)) for index in range(count)]
        for file in await self.sandbox.fs.download_files(wanted):
            check(file.result is not None and len(file.result) == SMALL, file.source)

    async def list(self, count: int) -> None:
        seen = 0
        async for _ in self.lists[count].list():
            seen += 1
        check(seen == count, f"{seen} sandboxes of {count}")

    async def upload_file(self, _count: int) -> None:
        await self.sandbox.fs.upload_file(self.plan["local"], large(self.plan))

    async def upload_stream(self, _count: int) -> None:
        with Path(self.plan["local"]).open("rb") as file:
            await self.sandbox.fs.upload_file_stream(file, large(self.plan))

    async def download_file(self, _count: int) -> None:
        await self.sandbox.fs.download_file(large(self.plan), self.plan["target"])

    async def download_memory(self, _count: int) -> None:
        length = len(await self.sandbox.fs.download_file(large(self.plan)))
        check(length == self.plan["bytes"], f"{length} bytes")

    async def download_stream(self, _count: int) -> None:
        length = 0
        async for piece in await self.sandbox.fs.download_file_stream(large(self.plan)):
            length += len(piece)
        check(length == self.plan["bytes"], f"{length} bytes")


async def main() -> None:
    module, plan = arguments()
    client = Client(module, plan)
    client.sandbox = await client.daytona.get(plan["sandbox"])
    taken = []
    for op in plan["ops"]:
        call, count = getattr(client, op["op"]), op.get("count", 0)
        for _ in range(op.get("warm", 0)):
            await call(count)
        watch = Watch(op)
        while watch.goes_on():
            await call(count)
            watch.note()
        taken.append(watch.stop())
    for one in client.clients:
        await one.close()
    print(json.dumps({"construct": client.construct, "taken": taken}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
