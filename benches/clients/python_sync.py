"""Follows a plan with a synchronous Python client: the official one or ours, they look the same."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import ECHO_READY, ECHO_SETUP, SMALL, Watch, arguments, check, large, list_url, log_command, small

# Calls at once come from this many threads: more are slower with either client.
THREADS = 32


class Client:
    def __init__(self, module: str, plan: dict[str, Any]) -> None:
        self.api: Any = importlib.import_module(module)
        self.plan = plan
        # Named before they are timed: both packages import their classes when asked for.
        self.types = (self.api.Daytona, self.api.DaytonaConfig)
        self.construct: list[float] = []
        self.sessions: set[str] = set()
        for _ in range(5):
            begin = time.perf_counter()
            daytona = self.connect(plan["api_url"])
            self.construct.append(time.perf_counter() - begin)
        self.daytona = daytona
        self.lists = {
            op["count"]: self.connect(list_url(plan, op["count"])) for op in plan["ops"] if op["op"] == "list"
        }
        self.sandbox = self.daytona.get(plan["sandbox"])
        self.threads = ThreadPoolExecutor(THREADS)

    def connect(self, api_url: str) -> Any:
        daytona, config = self.types
        return daytona(config(api_url=api_url, api_key=self.plan["key"]))

    def exec(self, _count: int = 0) -> None:
        answer = self.sandbox.process.exec("echo hi")
        check(answer.exit_code == 0, answer.result)

    def burst(self, count: int) -> None:
        list(self.threads.map(self.exec, range(count)))

    def upload_small(self, count: int) -> None:
        content = b"\7" * SMALL
        upload = self.api.FileUpload
        files = [upload(source=content, destination=small(index)) for index in range(count)]
        self.sandbox.fs.upload_files(files)

    def download_small(self, count: int) -> None:
        request = self.api.FileDownloadRequest
        files = self.sandbox.fs.download_files([request(source=small(index)) for index in range(count)])
        for file in files:
            check(file.result is not None and len(file.result) == SMALL, file.source)

    def list(self, count: int) -> None:
        seen = sum(1 for _ in self.lists[count].list())
        check(seen == count, f"{seen} sandboxes of {count}")

    def upload_file(self, _count: int) -> None:
        self.sandbox.fs.upload_file(self.plan["local"], large(self.plan))

    def upload_stream(self, _count: int) -> None:
        with Path(self.plan["local"]).open("rb") as file:
            self.sandbox.fs.upload_file_stream(file, large(self.plan))

    def download_file(self, _count: int) -> None:
        self.sandbox.fs.download_file(large(self.plan), self.plan["target"])

    def download_memory(self, _count: int) -> None:
        length = len(self.sandbox.fs.download_file(large(self.plan)))
        check(length == self.plan["bytes"], f"{length} bytes")

    def download_stream(self, _count: int) -> None:
        length = sum(len(piece) for piece in self.sandbox.fs.download_file_stream(large(self.plan)))
        check(length == self.plan["bytes"], f"{length} bytes")

    def log_lines(self, mb: int) -> None:
        self.log("lines", mb)

    def log_frames(self, mb: int) -> None:
        self.log("frames", mb)

    def log(self, kind: str, mb: int) -> None:
        process, session = self.sandbox.process, f"{self.api.__name__}-{os.getpid()}"
        if session not in self.sessions:
            self.sessions.add(session)
            process.create_session(session)
        request = self.api.SessionExecuteRequest(command=log_command(kind, mb), run_async=True)
        command = process.execute_session_command(session, request).cmd_id
        lengths: list[int] = []

        def take(text: str) -> None:
            lengths.append(len(text))

        # The official client's is a coroutine here too.
        followed = process.get_session_command_logs_async(session, command, take, take)
        if inspect.isawaitable(followed):
            asyncio.run(awaited(followed))
        check(sum(lengths) == mb * 1_000_000, f"{sum(lengths)} bytes")

    def pty_output(self, mb: int) -> None:
        handle = self.sandbox.process.create_pty_session(f"output-{mb}")
        handle.wait_for_connection()
        handle.send_input("go\n")
        length = sum(len(data) for data in handle)
        check(length == mb * 1_000_000, f"{length} bytes")

    def pty_echo(self, count: int) -> None:
        handle = self.sandbox.process.create_pty_session(f"echo-{os.getpid()}")
        handle.wait_for_connection()
        handle.send_input(ECHO_SETUP)
        shown, seen = iter(handle), b""
        while not seen.endswith(ECHO_READY):
            seen += next(shown)
        for _ in range(count):
            handle.send_input("k")
            next(shown)
        with contextlib.suppress(Exception):
            # The stub has no such route.
            handle.kill()
        handle.disconnect()

    def interpret(self, _count: int) -> None:
        result = self.sandbox.code_interpreter.run_code("print('hi')")
        check(result.stdout == "hi\n", repr(result.stdout))


async def awaited(one: Any) -> None:
    await one


def main() -> None:
    module, plan = arguments()
    client = Client(module, plan)
    taken = []
    for op in plan["ops"]:
        call, count = getattr(client, op["op"]), op.get("count", 0)
        for _ in range(op.get("warm", 0)):
            call(count)
        watch = Watch(op)
        while watch.goes_on():
            call(count)
            watch.note()
        taken.append(watch.stop())
    print(json.dumps({"construct": client.construct, "taken": taken}), flush=True)


if __name__ == "__main__":
    main()
