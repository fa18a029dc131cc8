"""The MCP server, driven by the protocol's own client library, over its standard streams and over HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import pathlib
import socket
import stat
import subprocess
import urllib.parse
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from conftest import OldServer, Server, server_binary

TOOLS = {
    "create_sandbox",
    "destroy_sandbox",
    "execute_command",
    "file_upload",
    "file_download",
    "get_file_info",
    "list_files",
    "move_file",
    "delete_file",
    "create_folder",
    "preview_link",
    "git_clone",
}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def environment(server: Server) -> dict[str, str]:
    return {"DAYTONA_API_URL": server.url, "DAYTONA_API_KEY": server.api_key}


def with_client(server: Server, work: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        parameters = StdioServerParameters(command=server_binary(), args=["mcp"], env=environment(server))
        async with Client(parameters) as client:
            await work(client)

    asyncio.run(asyncio.wait_for(main(), 60))


async def call(client: Client, name: str, arguments: dict[str, Any] | None = None) -> Any:
    """The structured answer of a call that has to succeed."""
    result = await client.call_tool(name, arguments or {})
    assert not result.is_error, result
    return result.structured_content


async def refused(client: Client, name: str, arguments: dict[str, Any]) -> str:
    """The text of a call that has to fail."""
    result = await client.call_tool(name, arguments)
    assert result.is_error, result
    return str(getattr(result.content[0], "text", ""))


def test_a_command_has_no_input_on_a_server_without_streams(old_server: OldServer) -> None:
    async def work(client: Client) -> None:
        box = await call(client, "create_sandbox", {})
        ran = await call(client, "execute_command", {"id": box["id"], "command": "cat; echo over"})
        assert (ran["exitCode"], ran["stdout"]) == (0, "over\n")
        await call(client, "destroy_sandbox", {"id": box["id"]})

    with_client(Server(str(old_server.config.api_url), str(old_server.config.api_key)), work)


def test_the_documented_tools(server: Server) -> None:
    async def work(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == TOOLS
        for tool in tools.values():
            assert tool.description
            assert tool.output_schema
        assert tools["execute_command"].input_schema["required"] == ["command"]
        upload = tools["file_upload"].input_schema["properties"]
        assert set(upload) == {"id", "file_path", "content", "encoding", "overwrite"}
        assert "no sandbox yet" in await refused(client, "execute_command", {"command": "true"})

        box = await call(client, "create_sandbox", {"name": "mcp-box", "labels": {"by": "mcp"}})
        assert box["state"] == "started"
        ran = await client.call_tool("execute_command", {"command": "echo out; echo err >&2; exit 3"})
        assert not ran.is_error
        assert ran.structured_content == {"exitCode": 3, "stdout": "out\n", "stderr": "err\n", "truncated": False}
        assert getattr(ran.content[0], "text", "") == "out\nstderr:\nerr\nexit code 3"

        # Nothing of a name is a command.
        name = "a 'b' $(touch pwned) \"c\"; touch pwned"
        await call(client, "create_folder", {"folder_path": "dir"})
        await call(client, "file_upload", {"file_path": f"dir/{name}", "content": "text ü"})
        assert "overwrite" in await refused(client, "file_upload", {"file_path": f"dir/{name}", "content": "x"})
        again = {"file_path": f"dir/{name}", "content": "again", "overwrite": True}
        assert (await call(client, "file_upload", again))["size"] == 5
        got = await call(client, "file_download", {"file_path": f"dir/{name}"})
        assert (got["content"], got["encoding"]) == ("again", "text")
        listed = await call(client, "list_files", {"path": "dir"})
        assert [entry["name"] for entry in listed["files"]] == [name]
        await call(client, "move_file", {"source_path": f"dir/{name}", "dest_path": "dir/plain"})
        info = await call(client, "get_file_info", {"id": box["id"], "file_path": "dir/plain"})
        assert (info["size"], info["isDir"]) == (5, False)
        await call(client, "delete_file", {"file_path": "dir/plain"})
        assert "dir/plain" in await refused(client, "get_file_info", {"file_path": "dir/plain"})
        ran = await call(client, "execute_command", {"command": "ls", "cwd": "."})
        assert "pwned" not in ran["stdout"]

        image = {"file_path": "a.png", "content": base64.b64encode(PIXEL).decode(), "encoding": "base64"}
        await call(client, "file_upload", image)
        downloaded = await client.call_tool("file_download", {"file_path": "a.png"})
        content: Any = downloaded.content[0]
        assert (content.type, content.mime_type) == ("image", "image/png")
        assert base64.b64decode(content.data) == PIXEL

        assert "listens" in await refused(client, "preview_link", {"port": 3000, "check_server": True})
        link = await call(client, "preview_link", {"port": 3000, "description": "the app"})
        assert link["url"].startswith("http")
        assert link["description"] == "the app"

        made = "git init -q -b main seed && cd seed && "
        made += "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one"
        await call(client, "execute_command", {"command": made})
        directory = (await call(client, "execute_command", {"command": "pwd"}))["stdout"].strip()
        cloned = await call(client, "git_clone", {"url": f"file://{directory}/seed", "path": "copy", "branch": "main"})
        assert cloned == {"path": "copy", "branch": "main"}

        gone = await call(client, "destroy_sandbox", {"id": box["id"]})
        assert gone == {"id": box["id"], "destroyed": True}
        assert "no sandbox yet" in await refused(client, "list_files", {})

    with_client(server, work)


def test_no_argument_is_left_out_in_silence(server: Server) -> None:
    """Each tool refuses what it does not have, and nothing is done."""

    async def work(client: Client) -> None:
        keep = await call(client, "create_sandbox", {"name": "mcp-keep"})
        last = await call(client, "create_sandbox")
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        for tool in tools:
            assert tool.input_schema["additionalProperties"] is False, tool.name
            for unknown in ("sandbox_id", "workdir", "timeout_ms"):
                arguments: dict[str, Any] = dict.fromkeys(tool.input_schema.get("required", []), "x")
                arguments[unknown] = "mcp-keep"
                text = await refused(client, tool.name, arguments)
                assert f'{tool.name} has no argument "{unknown}"' in text
                assert "It has: " in text
            if "id" in tool.input_schema["properties"]:
                good: dict[str, Any] = dict.fromkeys(tool.input_schema.get("required", []), "x")
                arguments = {**good, "port": 3000} if "port" in good else good
                arguments = {**arguments, "id": ""}
                assert "id is empty" in await refused(client, tool.name, arguments)
        assert "Did you mean id?" in await refused(client, "destroy_sandbox", {"sandbox_id": "mcp-keep"})
        assert "Did you mean timeout?" in await refused(client, "execute_command", {"command": "x", "timeout_ms": 1})
        assert "destroy_sandbox needs id" in await refused(client, "destroy_sandbox", {})
        assert "destroy_sandbox needs id" in await refused(client, "destroy_sandbox", {"id": None})
        assert "id must be a string, not 5" in await refused(client, "destroy_sandbox", {"id": 5})
        assert "env must be" in await refused(client, "execute_command", {"command": "x", "env": {"A": 1}})
        for box in (last, keep):
            ran = await call(client, "execute_command", {"id": box["id"], "command": "echo here"})
            assert ran["stdout"] == "here\n"
            await call(client, "destroy_sandbox", {"id": box["id"]})

    with_client(server, work)


async def call_off(client: Client, box: str) -> None:
    """Starts a command, hears of it, calls it off, and waits until it has ended."""
    told: list[str] = []
    heard = asyncio.Event()

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")
        if "working" in told[-1]:
            heard.set()

    line = "echo working; echo $$ > /tmp/pid; sleep 600"
    arguments = {"id": box, "command": line}
    running = asyncio.create_task(client.call_tool("execute_command", arguments, progress_callback=progress))
    await heard.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    ended = "for _ in $(seq 500); do kill -0 $(cat /tmp/pid) 2>/dev/null || exit 0; sleep 0.02; done; exit 1"
    assert (await call(client, "execute_command", {"id": box, "command": ended}))["exitCode"] == 0


def test_long_commands_report_and_are_called_off(server: Server) -> None:
    async def work(client: Client) -> None:
        box = await call(client, "create_sandbox")
        await call_off(client, box["id"])
        long = await call(client, "execute_command", {"command": "seq 1000000"})
        assert long["truncated"] is True
        assert long["stdout"].startswith("1\n2\n")
        assert long["stdout"].endswith("\n1000000\n")
        await call(client, "destroy_sandbox", {"id": box["id"]})

    with_client(server, work)


def test_the_end_of_the_client_ends_its_commands(server: Server, daytona: Any) -> None:
    sandbox = daytona.create()

    async def work(client: Client) -> None:
        arguments = {"id": sandbox.id, "command": "echo $$ > /tmp/pid.new; mv /tmp/pid.new /tmp/pid; sleep 600"}
        running = asyncio.create_task(client.call_tool("execute_command", arguments))
        ready = "until [ -e /tmp/pid ]; do sleep 0.02; done"
        await call(client, "execute_command", {"id": sandbox.id, "command": ready})
        running.cancel()

    with_client(server, work)
    ended = "for _ in $(seq 500); do kill -0 $(cat /tmp/pid) 2>/dev/null || exit 0; sleep 0.02; done; exit 1"
    assert sandbox.process.exec(ended).exit_code == 0
    sandbox.delete()


def test_http_is_for_those_who_have_the_token(server: Server) -> None:
    command = [server_binary(), "--json", "mcp", "--http", "127.0.0.1:0"]
    env = {**os.environ, **environment(server)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as process:
        try:
            assert process.stdout
            ready = json.loads(process.stdout.readline())
            assert ready["token"] not in pathlib.Path(f"/proc/{process.pid}/cmdline").read_text()
            refused_early(ready["url"], ready["token"])
            asyncio.run(asyncio.wait_for(over_http(ready["url"], ready["token"]), 60))
        finally:
            process.terminate()
        assert process.wait(20) == 0


def refused_early(url: str, token: str) -> None:
    """A refusal comes before what is refused, and the connection is good for the next request."""
    address = urllib.parse.urlsplit(url)
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    head += f"Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n"
    strange = f"Authorization: Bearer {token}\r\nOrigin: https://evil.example\r\n"
    with socket.create_connection((address.hostname, address.port or 0), 30) as connection:
        for more, status in [("", 401), (strange, 403), ("", 401)]:
            connection.sendall(f"{head}{more}\r\n".encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == status
            answer.read()
            connection.sendall(body)


@contextlib.asynccontextmanager
async def http_client(url: str, token: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def over_http(url: str, token: str) -> None:
    async with httpx2.AsyncClient() as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for headers, status in [
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}, 403),
            ({"Authorization": f"Bearer {token}", "Host": "evil.example"}, 403),
        ]:
            accept = {"Accept": "application/json, text/event-stream"}
            answer = await http.post(url, json=body, headers={**accept, **headers})
            assert answer.status_code == status, (headers, answer.status_code, answer.text)
    async with http_client(url, token) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        box = await call(client, "create_sandbox")
        ran = await call(client, "execute_command", {"id": box["id"], "command": "echo hi"})
        assert ran["stdout"] == "hi\n"
        await call_off(client, box["id"])
        await call(client, "destroy_sandbox", {"id": box["id"]})


def test_without_a_key_the_first_call_says_so(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        parameters = StdioServerParameters(command=server_binary(), args=["mcp", "start"], env={}, cwd=tmp_path)
        async with Client(parameters) as client:
            assert "DAYTONA_API_KEY not set" in await refused(client, "create_sandbox", {})

    asyncio.run(asyncio.wait_for(main(), 30))


def init(home: pathlib.Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [server_binary(), "mcp", "init", *words]
    clean = {"HOME": str(home), "PATH": os.environ["PATH"], **env}
    return subprocess.run(command, env=clean, cwd=home, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("agent", "file"),
    [
        ("claude", ".config/Claude/claude_desktop_config.json"),
        ("cursor", ".cursor/mcp.json"),
        ("windsurf", ".codeium/windsurf/mcp_config.json"),
    ],
)
def test_init_writes_settings(tmp_path: pathlib.Path, agent: str, file: str) -> None:
    done = init(tmp_path, agent, DAYTONA_API_URL="local")
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / file).read_text())
    entry = settings["mcpServers"]["daytona-mcp"]
    assert pathlib.Path(entry["command"]).is_absolute()
    assert (entry["args"], entry["env"]) == (["mcp"], {"DAYTONA_API_URL": "local"})


def test_init_keeps_what_is_there(tmp_path: pathlib.Path) -> None:
    file = tmp_path / ".cursor/mcp.json"
    file.parent.mkdir()
    before = '{\n    "mcpServers": {\n        "other": {"command":   "o"}\n    },\n    "theme": 1.50\n}\n'
    file.write_text(before)
    done = init(tmp_path, "cursor", "--save-key", DAYTONA_API_KEY="dtn_secret")
    assert done.returncode == 0, done.stderr
    assert "dtn_secret" not in done.stdout + done.stderr
    after = file.read_text()
    assert '        "other": {"command":   "o"}' in after
    assert after.endswith('    "theme": 1.50\n}\n')
    assert json.loads(after)["mcpServers"]["daytona-mcp"]["env"]["DAYTONA_API_KEY"] == "dtn_secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (file.parent / "mcp.json.bak").read_text() == before
    assert init(tmp_path, "cursor", "--save-key", DAYTONA_API_KEY="dtn_secret").returncode == 0
    assert file.read_text() == after
    assert not (file.parent / "mcp.json.bak.1").exists()

    file.write_text('{\n  // mine\n  "mcpServers": {}\n}\n')
    refused = init(tmp_path, "cursor")
    assert refused.returncode == 1
    assert "comments" in refused.stderr
    assert "// mine" in file.read_text()
