"""Follows a plan with an asynchronous Python client: the official one or ours, they look the same."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

from measure import ECHO_READY, ECHO_SETUP, SMALL, Watch, arguments, check, large, list_url, log_command, small


class Client:
    def __init__(self, module: str, plan: dict[str, Any]) -> None:
        self.api: Any = importlib.import_module(module)
        self.plan = plan
        # Named before they are timed: both packages import their classes when asked for.
        self.types = (self.api.AsyncDaytona, self.api.DaytonaConfig)
        self.construct: list[float] = []
        self.sessions: set[str] = set()
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

    async def log_lines(self, mb: int) -> None:
        await self.log("lines", mb)

    async def log_frames(self, mb: int) -> None:
        await self.log("frames", mb)

    async def log(self, kind: str, mb: int) -> None:
        process, session = self.sandbox.process, f"{self.api.__name__}-{os.getpid()}"
        if session not in self.sessions:
            self.sessions.add(session)
            await process.create_session(session)
        request = self.api.SessionExecuteRequest(command=log_command(kind, mb), run_async=True)
        command = (await process.execute_session_command(session, request)).cmd_id
        lengths: list[int] = []

        def take(text: str) -> None:
            lengths.append(len(text))

        await process.get_session_command_logs_async(session, command, take, take)
        check(sum(lengths) == mb * 1_000_000, f"{sum(lengths)} bytes")

    async def pty_output(self, mb: int) -> None:
        lengths: list[int] = []
        handle = await self.sandbox.process.create_pty_session(
            f"output-{mb}", on_data=lambda data: lengths.append(len(data))
        )
        await handle.wait_for_connection()
        await handle.send_input("go\n")
        await handle.wait()
        check(sum(lengths) == mb * 1_000_000, f"{sum(lengths)} bytes")

    async def pty_echo(self, count: int) -> None:
        shown: asyncio.Queue[bytes] = asyncio.Queue()
        handle = await self.sandbox.process.create_pty_session(f"echo-{os.getpid()}", on_data=shown.put_nowait)
        await handle.wait_for_connection()
        await handle.send_input(ECHO_SETUP)
        seen = b""
        while not seen.endswith(ECHO_READY):
            seen += await shown.get()
        for _ in range(count):
            await handle.send_input("k")
            await shown.get()
        with contextlib.suppress(Exception):
            # The stub has no such route.
            await handle.kill()
        await handle.disconnect()

    async def interpret(self, _count: int) -> None:
        result = await self.sandbox.code_interpreter.run_code("print('hi')")
        check(result.stdout == "hi\n", repr(result.stdout))


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
