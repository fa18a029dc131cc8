"""Runs the behaviour cases of this folder with a Python client: the sync or async one of any package that has the
official names. README.md describes the format of the cases."""

from __future__ import annotations

import asyncio
import concurrent.futures
import faulthandler
import functools
import importlib
import inspect
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from collections.abc import Callable
from typing import Any

from calls import Call

HERE = pathlib.Path(__file__).parent
# Of all cases, whoever runs them on the same server.
NUMBERS = itertools.count()
LIMIT = 60.0  # seconds that one step may take
Json = Any


def load(official: bool = False) -> dict[str, tuple[Json, Json]]:
    """Every case by its id, ``file/name``, with the file it is in; of the official clients those that they can run."""
    files = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(HERE.glob("*.json"))}
    return {
        f"{stem}/{case['name']}": (file, case)
        for stem, file in files.items()
        for case in file["cases"]
        if not (official and "only" in file | case)
    }


class Server:
    """One local server in a data directory of its own."""

    def __init__(self) -> None:
        binary = os.environ.get("DAYTONA_NATIVE_BINARY") or str(HERE.parents[1] / "bindings-node/bin/daytona-native")
        wanted = os.environ.get("DAYTONA_NATIVE_TEST_RUNTIME") or "auto"
        self._directory = tempfile.TemporaryDirectory(prefix="daytona-cases-", ignore_cleanup_errors=True)
        if not pathlib.Path(binary).is_file():
            raise RuntimeError(f"{binary} is not there: run `make build`, or set DAYTONA_NATIVE_BINARY")
        command = [binary, "serve", "--port", "0", "--json", "--data-dir", f"{self._directory.name}/data"]
        with open(f"{self._directory.name}/log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, "--runtime", wanted], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log_text = pathlib.Path(self._directory.name, "log").read_text()
            raise RuntimeError(f"{binary} ended with {self._process.wait()}: {log_text}")
        ready = json.loads(line)
        self.url: str = ready["url"]
        self.api_key: str = ready["apiKey"]
        request = urllib.request.Request(f"{self.url}/config", headers={"Authorization": f"Bearer {self.api_key}"})
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            runtime = json.load(answer)["runtime"]
        self.holds: set[str] = {name for name, limit in runtime["limits"].items() if limit["state"] == "enforced"}
        if runtime["isolated"]:
            self.holds.add("isolation")
        self.holds.add(runtime["kind"])
        if not os.environ.get("DAYTONA_NATIVE_TEST_OFFLINE"):
            self.holds.add("internet")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._directory.cleanup()


def content(spec: Json) -> Json:
    """The value that ``{"$text": ...}`` and the like stand for; `None` for anything else."""
    match spec:
        case {"$text": text}:
            return text.encode()
        case {"$bytes": digits}:
            return bytes.fromhex(digits)
        case {"$pattern": size}:
            return bytes((i * 7 + (i >> 8) * 13) & 255 for i in range(size))
        case {"$repeat": [text, count]}:
            return (text if isinstance(text, str) else content(text)) * count
        case {"$lines": lines}:
            return "\n".join(lines)
        case {"$concat": parts}:
            return "".join(part if isinstance(part, str) else content(part) for part in parts)
    return None


def field(value: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, (list, tuple)):
            value = value[int(name)]
        else:
            value = getattr(value, name, None)
    return value


def mismatch(want: Json, got: Any, at: str = "result") -> str | None:
    """Why ``got`` is not what is wanted, or `None`."""

    def first(pairs: Any) -> str | None:
        return next(filter(None, (mismatch(w, g, a) for w, g, a in pairs)), None)

    def fail() -> str:
        return f"{at} is {repr(got)[:400]}, wanted {repr(want)[:400]}"

    def check(holds: bool) -> str | None:
        return None if holds else fail()

    literal = content(want) if isinstance(want, dict) else None
    if literal is not None:
        got = bytes(got) if isinstance(got, (bytearray, memoryview)) else got
        return check(got == literal)
    if isinstance(want, dict) and len(want) == 1 and next(iter(want)).startswith("$"):
        operator, operand = next(iter(want.items()))
        match operator:
            case "$contains":
                return check(isinstance(got, str) and operand in got)
            case "$regex":
                return check(got is not None and re.search(operand, str(got)) is not None)
            case "$length":
                return check(got is not None and len(got) == operand)
            case "$absent":
                return check(got is None)
            case "$any":
                return check(any(mismatch(operand, one) is None for one in got))
            case "$min":
                return check(got is not None and got >= operand)
            case "$not":
                return check(mismatch(operand, got) is not None)
            case "$all":
                return first((one, got, at) for one in operand)
            case "$set":
                left = list(got)
                for one in operand:
                    found = next((i for i, item in enumerate(left) if mismatch(one, item) is None), None)
                    if found is None:
                        return fail()
                    left.pop(found)
                return check(not left)
        raise ValueError(f"unknown operator {operator}")
    if isinstance(want, dict):
        if set(want) == {"$min", "$max"}:
            return check(got is not None and want["$min"] <= got <= want["$max"])
        return first((one, field(got, name.replace(".", "\0")), f"{at}.{name}") for name, one in want.items())
    if isinstance(want, list):
        if not isinstance(got, (list, tuple)) or len(got) != len(want):
            return fail()
        return first((w, g, f"{at}.{i}") for i, (w, g) in enumerate(zip(want, got, strict=True)))
    return check(got == want)


class Session:
    """One client and the sandboxes that cases share.

    ``late`` is for how many seconds an event may undo what a sandbox has read since.
    """

    def __init__(self, package: str, is_async: bool, server: Server, late: float = 0) -> None:
        self.late = late
        self.module = importlib.import_module(package)
        self.is_async = is_async
        self.server = server
        self.shared: dict[int, Any] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(16)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._clients: list[Any] = []
        self.client = self.wait(self.submit(lambda: self.new_client(server.api_key)))

    def new_client(self, api_key: str) -> Any:
        """Makes a client; call it where the client belongs."""
        config = self.module.DaytonaConfig(api_key=api_key, api_url=self.server.url)
        self._clients.append((self.module.AsyncDaytona if self.is_async else self.module.Daytona)(config))
        return self._clients[-1]

    def submit(self, call: Callable[[], Any]) -> concurrent.futures.Future[Any]:
        """Starts a call where its client belongs: on a thread, or on the event loop."""
        if not self.is_async:
            return self._pool.submit(call)

        async def run() -> Any:
            result = call()
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def wait(self, future: concurrent.futures.Future[Any]) -> Any:
        if future not in concurrent.futures.wait([future], LIMIT).done:
            for task in asyncio.all_tasks(self._loop):
                task.print_stack()
            faulthandler.dump_traceback(sys.__stderr__)
        return future.result(0)

    def close(self) -> None:
        deletions = [self.submit(functools.partial(sandbox.delete, wait=True)) for sandbox in self.shared.values()]
        for deletion in deletions:
            self.wait(deletion)
        for client in self._clients:
            if hasattr(client, "close"):
                self.wait(self.submit(client.close))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown()

    def given(self, kind: str, **values: Any) -> Any:
        """A parameter object: a dict for our own asynchronous client, which takes either, so that cases try both."""
        as_dict = self.is_async and self.module.__name__ == "daytona_native"
        return values if as_dict else getattr(self.module, kind)(**values)

    def create(self, client: Any, params: Json, **options: Any) -> Any:
        if "volumes" in params:
            params = {**params, "volumes": [self.given("VolumeMount", **volume) for volume in params["volumes"]]}
        if "image" in params:
            params = {**params, "image": self.image(params["image"])}
        kind = "CreateSandboxFromImageParams" if "image" in params else "CreateSandboxFromSnapshotParams"
        return client.create(self.given(kind, **params), **options)

    def image(self, given: Json) -> Any:
        """Gives an image by its name, or by the calls that build it."""
        if isinstance(given, str):
            return given
        image = self.module.Image
        for name, *args in given:
            image = getattr(image, name)(*args)
        return image

    def terminal_size(self, cols: int, rows: int) -> Any:
        kind = getattr(self.module, "PtySize", None)
        # The official package does not export it.
        kind = kind or importlib.import_module(f"{self.module.__name__}.common.pty").PtySize
        return kind(rows=rows, cols=cols)

    def run(self, file: Json, case: Json, changed: Json | None = None) -> None:
        """Runs one case; ``changed`` replaces members of its steps by their number."""
        wanted, without = (file.get(name, []) + case.get(name, []) for name in ("with", "without"))
        holds = self.server.holds
        if not holds.issuperset(wanted) or holds.intersection(without):
            raise unittest.SkipTest(f"for machines with {wanted} and without {without}")
        run_id = f"c{os.getpid()}x{next(NUMBERS)}"
        names: dict[str, Any] = {
            "id": run_id,
            "dir": run_id,
            "api_url": self.server.url,
            "api_key": self.server.api_key,
        }
        fresh = None
        with tempfile.TemporaryDirectory(prefix="daytona-local-") as local:
            names["local"] = local
            try:
                if "fresh" in case:
                    params = fill(case["fresh"], names)
                    fresh = names["sandbox"] = self.wait(self.submit(lambda: self.create(self.client, params)))
                elif "sandbox" in file:
                    if id(file) not in self.shared:
                        shared = self.submit(lambda: self.create(self.client, file["sandbox"]))
                        names["sandbox"] = self.wait(shared)
                        self._steps(file.get("setup", []), names, {})
                        self.shared[id(file)] = names["sandbox"]
                    names["sandbox"] = self.shared[id(file)]
                if sandbox := names.get("sandbox"):
                    names["work"] = self.wait(self.submit(sandbox.get_work_dir))
                    names["home"] = self.wait(self.submit(sandbox.get_user_home_dir))
                self._steps(case["steps"], names, changed or {})
            finally:
                if fresh is not None:
                    self.wait(self.submit(functools.partial(fresh.delete, wait=True)))

    def _steps(self, steps: list[Json], names: dict[str, Any], changed: Json) -> None:
        running: dict[str, tuple[str, Json, concurrent.futures.Future[Any]]] = {}
        for number, original in enumerate(steps):
            step = {**original, **changed.get(str(number), {})}
            if "join" in step:
                self._judge(*running.pop(step["join"]), names)
                continue
            at = f"step {number} ({step['call']})"
            args = fill(step.get("args", {}), names)
            target = names.get(step.get("on", "sandbox"))
            begin = time.monotonic()
            call = Call(self, step["call"], target, args)
            future = self.submit(call.start)
            if "background" in step:
                running[step["background"]] = (at, step, future)
                continue
            self._judge(at, step, future, names)
            took = time.monotonic() - begin
            assert took <= step.get("within", LIMIT), f"{at} took {took:.1f} s"
        assert not running, f"never joined: {list(running)}"

    def _judge(self, at: str, step: Json, future: concurrent.futures.Future[Any], names: dict[str, Any]) -> None:
        try:
            result = self.wait(future)
        except Exception as error:
            if "error" not in step or isinstance(error, concurrent.futures.TimeoutError):
                raise AssertionError(f"{at} raised {type(error).__name__}: {error}") from error
            self._judge_error(at, step, error, names)
            return
        assert "error" not in step, f"{at} returned {result!r}, wanted {step['error']}"
        for name, path in step.get("save", {}).items():
            value = field(result, path)
            names[name] = value.strip() if isinstance(value, str) else value
        if "expect" in step:
            want = fill(step["expect"], names, keep=True)
            limit = time.monotonic() + (self.late if step["call"] == "look" else 0)
            while (problem := mismatch(want, result)) and time.monotonic() < limit:
                time.sleep(0.01)
            assert problem is None, f"{at}: {problem}"

    def _judge_error(self, at: str, step: Json, error: Exception, names: dict[str, Any]) -> None:
        want = dict(fill(step["error"], names, keep=True))
        kind = getattr(self.module, want.pop("class"))
        got = {name: getattr(error, name, None) for name in ("code", "source", "request_id", "sandbox_id")}
        got |= {"message": str(error), "status": getattr(error, "status_code", None)}
        problem = None if isinstance(error, kind) else f"error is {type(error).__name__}, wanted {kind.__name__}"
        problem = problem or mismatch(want, got, "error")
        if problem:
            raise AssertionError(f"{at}: {problem} ({type(error).__name__}: {error})") from error


def fill(spec: Json, names: dict[str, Any], keep: bool = False) -> Json:
    """Puts values for ``${name}`` and, unless they are kept for comparison, for contents."""
    if isinstance(spec, str):

        def value(found: re.Match[str]) -> str:
            root, _, path = found[1].partition(".")
            return str(field(names[root], path)) if root in names else found[0]

        whole = re.fullmatch(r"\$\{(\w+)\}", spec)
        if whole and whole[1] in names:
            return names[whole[1]]
        return re.sub(r"\$\{([a-z]\w*(?:\.\w+)*)\}", value, spec)
    if isinstance(spec, list):
        return [fill(one, names, keep) for one in spec]
    if isinstance(spec, dict):
        filled = {fill(name, names): fill(one, names, keep) for name, one in spec.items()}
        made = None if keep else content(filled)
        return filled if made is None else made
    return spec
