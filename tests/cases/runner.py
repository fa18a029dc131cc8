"""Runs the behaviour cases of this folder with a Python client: the sync or async one of any package that has the
official names. README.md describes the format of the cases."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import functools
import hashlib
import importlib
import inspect
import io
import itertools
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

HERE = pathlib.Path(__file__).parent
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
        binary = os.environ.get("DAYTONA_NATIVE_BINARY") or str(HERE.parents[1] / "target/release/daytona-native")
        runtime = os.environ.get("DAYTONA_NATIVE_TEST_RUNTIME") or "auto"
        self._directory = tempfile.TemporaryDirectory(prefix="daytona-cases-", ignore_cleanup_errors=True)
        if not pathlib.Path(binary).is_file():
            raise RuntimeError(f"{binary} is not there: run `make build`, or set DAYTONA_NATIVE_BINARY")
        command = [binary, "serve", "--port", "0", "--json", "--data-dir", f"{self._directory.name}/data"]
        with open(f"{self._directory.name}/log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, "--runtime", runtime], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log_text = pathlib.Path(self._directory.name, "log").read_text()
            raise RuntimeError(f"{binary} ended with {self._process.wait()}: {log_text}")
        ready = json.loads(line)
        self.url: str = ready["url"]
        self.api_key: str = ready["apiKey"]

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
    """One client and the sandboxes that cases share."""

    def __init__(self, package: str, is_async: bool, server: Server) -> None:
        self.module = importlib.import_module(package)
        self.is_async = is_async
        self.server = server
        self.shared: dict[int, Any] = {}
        self._counter = itertools.count()
        self._pool = concurrent.futures.ThreadPoolExecutor(8)
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
        return future.result(LIMIT)

    def close(self) -> None:
        for sandbox in self.shared.values():
            self.wait(self.submit(functools.partial(sandbox.delete, wait=True)))
        for client in self._clients:
            if hasattr(client, "close"):
                self.wait(self.submit(client.close))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pool.shutdown()

    def create(self, client: Any, params: Json, **options: Any) -> Any:
        kind = "CreateSandboxFromImageParams" if "image" in params else "CreateSandboxFromSnapshotParams"
        return client.create(getattr(self.module, kind)(**params), **options)

    def terminal_size(self, cols: int, rows: int) -> Any:
        kind = getattr(self.module, "PtySize", None)
        # The official package does not export it.
        kind = kind or importlib.import_module(f"{self.module.__name__}.common.pty").PtySize
        return kind(rows=rows, cols=cols)

    def run(self, file: Json, case: Json, changed: Json | None = None) -> None:
        """Runs one case; ``changed`` replaces members of its steps by their number."""
        run_id = f"c{os.getpid()}x{next(self._counter)}"
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
            problem = mismatch(fill(step["expect"], names, keep=True), result)
            assert problem is None, f"{at}: {problem}"

    def _judge_error(self, at: str, step: Json, error: Exception, names: dict[str, Any]) -> None:
        want = dict(fill(step["error"], names, keep=True))
        kind = getattr(self.module, want.pop("class"))
        got = {name: getattr(error, name, None) for name in ("code", "source", "request_id")}
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


class Call:
    """One step's call, by its canonical name: the Python names, with keyword arguments."""

    def __init__(self, session: Session, name: str, target: Any, args: dict[str, Any]) -> None:
        self.session, self.target, self.args = session, target, args
        self.part, _, self.method = name.partition(".")
        self.special: Callable[..., Any] | None = getattr(self, name.replace(".", "_"), None)

    def start(self) -> Any:
        if self.special:
            return self.special(**self.args)
        holder = self.target if self.part == "sandbox" else getattr(self.target, self.part, None)
        if self.part == "daytona":
            holder = self.session.client
        return getattr(holder, self.method)(**self.args)

    def _client(self) -> Any:
        return self.target if hasattr(self.target, "create") else self.session.client

    def look(self) -> Any:
        return self.target

    def client_new(self, api_key: str) -> Any:
        return self.session.new_client(api_key)

    def daytona_create(self, params: Json | None = None, **options: Any) -> Any:
        if params is None:
            return self._client().create(**options)
        return self.session.create(self._client(), params, **options)

    def daytona_get(self, sandbox_id_or_name: str) -> Any:
        return self._client().get(sandbox_id_or_name)

    def daytona_list(self, query: Json | None = None) -> Any:
        module = self.session.module
        enums = {"sort": module.SandboxListSortField, "order": module.SandboxListSortDirection}

        def typed(name: str, value: Any) -> Any:
            if name == "states":
                return [module.SandboxState(state) for state in value]
            if name.endswith(("_after", "_before")):
                return datetime.datetime.fromisoformat(value)
            return enums[name](value) if name in enums else value

        typed_query = {name: typed(name, value) for name, value in (query or {}).items()}
        found = self._client().list(module.ListSandboxesQuery(**typed_query) if query else None)
        return _collect(found) if hasattr(found, "__aiter__") else list(found)

    def process_code_run(
        self, code: str, argv: list[str] | None = None, env: dict[str, str] | None = None, timeout: int | None = None
    ) -> Any:
        params = self.session.module.CodeRunParams(argv=argv, env=env) if argv or env else None
        return self.target.process.code_run(code, params, timeout)

    def fs_upload_file(self, source: Any, destination: str, **options: Any) -> Any:
        return self.target.fs.upload_file(source, destination, **options)

    def fs_upload_files(self, files: list[Json]) -> Any:
        return self.target.fs.upload_files([self.session.module.FileUpload(**file) for file in files])

    def fs_download_file(self, remote_path: str, local_path: str | None = None, timeout: int = 1800) -> Any:
        paths = [remote_path] if local_path is None else [remote_path, local_path]
        return self.target.fs.download_file(*paths, timeout)

    def fs_download_files(self, files: list[Json]) -> Any:
        return self.target.fs.download_files([self.session.module.FileDownloadRequest(**file) for file in files])

    def fs_upload_file_stream(self, source: bytes, remote_path: str) -> Any:
        sent = [0]
        upload = self.target.fs.upload_file_stream(
            io.BytesIO(source), remote_path, on_progress=lambda p: sent.append(p.bytes_sent)
        )

        async def finish() -> Any:
            await upload
            return {"sent": sent[-1]}

        return finish() if inspect.isawaitable(upload) else {"sent": sent[-1]}

    def fs_download_file_stream(self, remote_path: str) -> Any:
        seen: list[Any] = []
        stream = self.target.fs.download_file_stream(remote_path, on_progress=seen.append)

        def result(chunks: list[bytes]) -> Json:
            received, total = (seen[-1].bytes_received, seen[-1].total_bytes) if seen else (0, None)
            return {"content": b"".join(chunks), "received": received, "total": total}

        async def finish() -> Any:
            return result(await _collect(await stream if inspect.isawaitable(stream) else stream))

        return finish() if self.session.is_async else result(list(stream))

    def process_execute_session_command(
        self, session_id: str, command: str, timeout: int | None = None, **options: Any
    ) -> Any:
        request = self.session.module.SessionExecuteRequest(command=command, **options)
        return self.target.process.execute_session_command(session_id, request, timeout)

    def process_list_session_ids(self) -> Any:
        return _then(self.target.process.list_sessions(), lambda found: [one.session_id for one in found])

    def process_follow_logs(self, session_id: str, command_id: str) -> Any:
        return self._followed(
            functools.partial(self.target.process.get_session_command_logs_async, session_id, command_id)
        )

    def process_follow_entrypoint_logs(self) -> Any:
        return self._followed(self.target.process.get_entrypoint_logs_async)

    def _followed(self, follow: Callable[..., Any]) -> Any:
        out: list[str] = []
        err: list[str] = []
        # A coroutine, also of the synchronous official client.
        done = _then(follow(out.append, err.append), lambda _: {"stdout": "".join(out), "stderr": "".join(err)})
        return done if self.session.is_async or not inspect.isawaitable(done) else asyncio.run(_awaited(done))

    def process_stream(self, command: str, **options: Any) -> Any:
        script = {name: options.pop(name) for name in ("stdin", "until", "then", "digest") if name in options}
        started = self.target.process.exec_stream(command, **options)
        return _stream_async(started, script) if self.session.is_async else _stream(started, script)

    def process_list_pty_ids(self) -> Any:
        return _then(self.target.process.list_pty_sessions(), lambda found: [one.id for one in found])

    def process_resize_pty_session(self, session_id: str, cols: int, rows: int) -> Any:
        size = self.session.terminal_size(cols, rows)
        return self.target.process.resize_pty_session(session_id, size)

    def pty_create(self, id: str, cols: int | None = None, rows: int | None = None, **options: Any) -> Any:
        size = {"pty_size": self.session.terminal_size(cols, rows)} if cols is not None else {}
        terminal = Terminal(self.session)
        return terminal.opened(self.target.process.create_pty_session(id, **terminal.given, **size, **options))

    def pty_connect(self, session_id: str, **options: Any) -> Any:
        terminal = Terminal(self.session)
        return terminal.opened(self.target.process.connect_pty_session(session_id, **terminal.given, **options))

    def pty_run(self, script: list[Json]) -> Any:
        return self.target.run_async(script) if self.session.is_async else self.target.run(script)

    def code_interpreter_run_code(self, code: str, **options: Any) -> Any:
        seen: dict[str, list[str]] = {"stdout": [], "stderr": [], "error": []}
        done = self.target.code_interpreter.run_code(
            code,
            on_stdout=lambda message: seen["stdout"].append(message.output),
            on_stderr=lambda message: seen["stderr"].append(message.output),
            on_error=lambda error: seen["error"].append(error.name),
            **options,
        )

        def outcome(result: Any) -> Json:
            known = {name: getattr(result, name, None) for name in ("stdout", "stderr", "error", "results")}
            return known | {f"seen_{name}": "".join(parts) for name, parts in seen.items()}

        return _then(done, outcome)

    def code_interpreter_list_context_ids(self) -> Any:
        return _then(self.target.code_interpreter.list_contexts(), lambda found: [one.id for one in found])

    def http_get(self, url: str) -> Json:
        return _http(urllib.request.Request(url))

    def http_post_file(self, url: str, content: bytes) -> Json:
        head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        body = head + content + b"\r\n--part--\r\n"
        return _http(urllib.request.Request(url, body, {"Content-Type": "multipart/form-data; boundary=part"}))

    def local_write(self, path: str, content: bytes) -> None:
        pathlib.Path(path).write_bytes(content)

    def local_read(self, path: str) -> bytes:
        return pathlib.Path(path).read_bytes()

    def local_list(self, path: str) -> list[str]:
        return sorted(os.listdir(path))


class Terminal:
    """A pseudo-terminal that is driven by what it shows."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.given: dict[str, Any] = {"on_data": self._on_data_async} if session.is_async else {}
        self.handle: Any = None
        self._script: list[Json] = []
        self._shown = b""

    def opened(self, handle: Any) -> Any:
        def keep(found: Any) -> Terminal:
            self.handle = found
            return self

        return _then(handle, keep)

    def run(self, script: list[Json]) -> Json:
        self.handle.wait_for_connection()
        self._script = script
        for action in self._due():
            self._act(action)
        if not any("disconnect" in action for action in script):
            return self._result(self.handle.wait(on_data=self._on_data))
        # The official client's wait does not notice that its own connection is closed.
        for data in self.handle:
            self._on_data(data)
            if not self._script:
                break
        return self._result(self.handle)

    async def run_async(self, script: list[Json]) -> Json:
        await self.handle.wait_for_connection()
        self._script = script
        await self._on_data_async(b"")
        return self._result(await self.handle.wait())

    def _result(self, result: Any) -> Json:
        shown = self._shown.decode("utf-8", "replace")
        return {"output": shown, "exit_code": result.exit_code, "error": result.error or None}

    def _due(self) -> Iterator[Json]:
        while self._script and self._script[0].get("until", "").encode() in self._shown:
            yield self._script.pop(0)

    def _act(self, action: Json) -> Any:
        if "send" in action:
            return self.handle.send_input(action["send"])
        if "send_all_bytes" in action:
            return self.handle.send_input(bytes(range(256)))
        if "resize" in action:
            return self.handle.resize(self.session.terminal_size(*action["resize"]))
        return self.handle.kill() if "kill" in action else self.handle.disconnect()

    def _on_data(self, data: bytes) -> None:
        self._shown += data
        for action in self._due():
            self._act(action)

    async def _on_data_async(self, data: bytes) -> None:
        self._shown += data
        for action in self._due():
            await self._act(action)


class _Streamed:
    def __init__(self, script: Json) -> None:
        self.script = script
        self.text = {"stdout": "", "stderr": ""}
        self.data = b""
        self.answered = "until" not in script

    def take(self, chunk: Any) -> bool:
        """Whether it is time to answer."""
        self.text[chunk.stream] += chunk.text
        self.data += chunk.data
        due = not self.answered and self.script["until"] in self.text["stdout"]
        self.answered = self.answered or due
        return due

    def result(self, exit_code: int) -> Json:
        if "digest" in self.script:
            first, _, rest = self.text["stdout"].partition("\n")
            return {"exit_code": exit_code, "same": hashlib.sha256(rest.encode()).hexdigest() == first.split()[0]}
        return {**self.text, "data": self.data, "exit_code": exit_code}


def _answer(stream: Any, then: Json) -> Any:
    if "stdin" in then:
        return stream.write_stdin(then["stdin"])
    return stream.kill() if "kill" in then else stream.signal(then["signal"])


def _stream(stream: Any, script: Json) -> Json:
    seen = _Streamed(script)
    with stream:
        if script.get("until") == "":
            _answer(stream, script["then"])
        if "stdin" in script:
            writer = threading.Thread(target=lambda: [*map(stream.write_stdin, script["stdin"]), stream.close_stdin()])
            writer.start()
        for chunk in stream:
            if seen.take(chunk):
                _answer(stream, script["then"])
        return seen.result(stream.wait())


async def _stream_async(started: Any, script: Json) -> Json:
    seen = _Streamed(script)
    stream = await started
    async with stream:
        if script.get("until") == "":
            await _answer(stream, script["then"])

        async def write() -> None:
            for text in script["stdin"]:
                await stream.write_stdin(text)
            await stream.close_stdin()

        writer = asyncio.ensure_future(write()) if "stdin" in script else None
        async for chunk in stream:
            if seen.take(chunk):
                await _answer(stream, script["then"])
        if writer:
            await writer
        return seen.result(await stream.wait())


async def _awaited(one: Any) -> Any:
    return await one


def _then(value: Any, change: Callable[[Any], Any]) -> Any:
    """What ``change`` makes of a value, or of an awaitable's value."""
    if not inspect.isawaitable(value):
        return change(value)

    async def changed() -> Any:
        return change(await value)

    return changed()


async def _collect(found: Any) -> list[Any]:
    return [one async for one in found]


def _http(request: urllib.request.Request) -> Json:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return {"status": answer.status, "body": answer.read()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read()}
