"""The calls of the cases, by their canonical names, and what drives streams and terminals for them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import hashlib
import inspect
import io
import os
import pathlib
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner import Session

Json = Any


class Call:
    """One step's call, by its canonical name: the Python names, with keyword arguments."""

    def __init__(self, session: Session, name: str, target: Any, args: dict[str, Any]) -> None:
        self.session, self.target, self.args = session, target, args
        self.part, _, self.method = name.partition(".")
        self.special: Callable[..., Any] | None = getattr(self, name.replace(".", "_"), None)

    def start(self) -> Any:
        if self.special:
            return self.special(**self.args)
        is_whole = self.part in ("sandbox", "lsp", "terminal", "provider")
        holder = self.target if is_whole else getattr(self.target, self.part, None)
        if self.part == "daytona":
            holder = self.session.client
        elif self.part in ("snapshot", "volume", "secret", "warm_pool", "api"):
            holder = getattr(self._client(), self.part)
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
        found = self._client().list(self.session.given("ListSandboxesQuery", **typed_query) if query else None)
        return _collect(found) if hasattr(found, "__aiter__") else list(found)

    def sandbox_resize(self, resources: Json, **options: Any) -> Any:
        return self.target.resize(self.session.given("Resources", **resources), **options)

    def snapshot_create(self, name: str, image: Any, entrypoint: list[str] | None = None, **options: Any) -> Any:
        image = self.session.image(image)
        params = self.session.given("CreateSnapshotParams", name=name, image=image, entrypoint=entrypoint)
        return self._client().snapshot.create(params, **options)

    def secret_create(self, **params: Any) -> Any:
        return self._client().secret.create(self.session.given("CreateSecretParams", **params))

    def secret_update(self, secret_id: str, **params: Any) -> Any:
        return self._client().secret.update(secret_id, self.session.given("UpdateSecretParams", **params))

    def api_create_api_key(self, name: str, permissions: list[str], expires_at: str | None = None) -> Any:
        when = datetime.datetime.fromisoformat(expires_at) if expires_at else None
        return self._client().api.create_api_key(name, permissions, when)

    def sandbox_get_metrics(self, start: str | None = None, end: str | None = None) -> Any:
        times = [datetime.datetime.fromisoformat(time) if time else None for time in (start, end)]
        return self.target.get_metrics(*times)

    def process_code_run(
        self, code: str, argv: list[str] | None = None, env: dict[str, str] | None = None, timeout: int | None = None
    ) -> Any:
        params = self.session.given("CodeRunParams", argv=argv, env=env) if argv or env else None
        return self.target.process.code_run(code, params, timeout)

    def fs_upload_file(self, source: Any, destination: str, **options: Any) -> Any:
        return self.target.fs.upload_file(source, destination, **options)

    def fs_upload_files(self, files: list[Json]) -> Any:
        return self.target.fs.upload_files([self.session.given("FileUpload", **file) for file in files])

    def fs_download_file(self, remote_path: str, local_path: str | None = None, timeout: int = 1800) -> Any:
        paths = [remote_path] if local_path is None else [remote_path, local_path]
        return self.target.fs.download_file(*paths, timeout)

    def fs_download_files(self, files: list[Json]) -> Any:
        return self.target.fs.download_files([self.session.given("FileDownloadRequest", **file) for file in files])

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
        request = self.session.given("SessionExecuteRequest", command=command, **options)
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
        return self._streamed(self.target.process.exec_stream, command, options)

    def _streamed(self, start: Callable[..., Any], command: str, options: dict[str, Any]) -> Any:
        script = {name: options.pop(name) for name in ("stdin", "until", "then", "digest") if name in options}
        started = start(command, **options)
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

    def lsp_completions(self, path: str, line: int, character: int) -> Any:
        position = self.session.given("LspCompletionPosition", line=line, character=character)
        return self.target.completions(path, position)

    def terminal_new(self, config: Json | str | None = None) -> Any:
        module = self.session.module
        kind = module.AsyncTerminalBackend if self.session.is_async else module.TerminalBackend
        return kind(config, daytona=self._client())

    def terminal_config(self) -> Any:
        return self.target.config

    def terminal_images(self) -> Any:
        return self.session.module.TerminalBackend.images()

    def terminal_stream(self, command: str, **options: Any) -> Any:
        return self._streamed(self.target.exec, command, options)

    def provider_new(self, pool: Json | None, api_key: str | None = None) -> Any:
        module = self.session.module
        kind = module.AsyncSandboxProvider if self.session.is_async else module.SandboxProvider
        return kind(pool, api_key=api_key)

    def provider_pool(self) -> Any:
        return self.target.pool

    def provider_profile(self) -> Any:
        return self.session.module.SandboxProvider.profile()

    def provider_follow_logs(self, handle: Any) -> Any:
        def taken(chunks: list[Any]) -> Json:
            return {
                name: "".join(chunk.text for chunk in chunks if chunk.stream == name) for name in ("stdout", "stderr")
            }

        async def follow() -> Json:
            return taken([chunk async for chunk in await self.target.stream_logs(handle)])

        return follow() if self.session.is_async else taken(list(self.target.stream_logs(handle)))

    def sandbox_get_preview_link(self, port: int | str) -> Any:
        return self.target.get_preview_link(int(port))

    def sandbox_create_signed_preview_url(self, port: int | str, expires_in_seconds: int | None = None) -> Any:
        return self.target.create_signed_preview_url(int(port), expires_in_seconds)

    def sandbox_expire_signed_preview_url(self, port: int | str, token: str) -> Any:
        return self.target.expire_signed_preview_url(int(port), token)

    def http_get(self, url: str, headers: dict[str, str] | None = None) -> Json:
        return _http(urllib.request.Request(url, headers=headers or {}))

    def http_post_file(self, url: str, content: bytes) -> Json:
        head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        body = head + content + b"\r\n--part--\r\n"
        return _http(urllib.request.Request(url, body, {"Content-Type": "multipart/form-data; boundary=part"}))

    def host_kill(self, marker: str, up: int) -> Any:
        return asyncio.to_thread(kill_above, marker, up) if self.session.is_async else kill_above(marker, up)

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


def kill_above(marker: str, up: int) -> None:
    """Kill the process so many steps above the topmost one with this text on its command line, once that runs."""
    deadline = time.monotonic() + 30
    while not (found := _processes(marker)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing with {marker} on its command line")
        time.sleep(0.02)
    pid = next(pid for pid, parent in found.items() if parent not in found)
    for _ in range(up):
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)


def _processes(marker: str) -> dict[int, int]:
    """Return the processes with this text on their command line, each with its parent."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker.encode() in (folder / "cmdline").read_bytes():
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


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
