"""Images of a registry that lets in only those who have a name and a password there."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_engine import until

from conftest import Server

HOST = "127.0.0.1:5001"
LOGIN = base64.b64encode(b"me:secret").decode()
# Runs where the engine is, which has a network of its own.
REGISTRY = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
answers, login = json.loads(sys.argv[1]), "Basic " + sys.argv[2]
class Registry(BaseHTTPRequestHandler):
    def do_GET(self):
        allowed = self.headers.get("authorization") == login
        kind, body = answers.get(self.path, ("application/json", "")) if allowed else ("application/json", "")
        body = bytes.fromhex(body)
        self.send_response(401 if not allowed else 200 if body or self.path == "/v2/" else 404)
        if not allowed:
            self.send_header("www-authenticate", 'Basic realm="private"')
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
    do_HEAD = do_GET
server = HTTPServer(("127.0.0.1", 5001), Registry)
print("up", flush=True)
server.serve_forever()
"""


def answers() -> dict[str, tuple[str, str]]:
    """What the registry says, by path: an image of one empty folder."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o777
        tar.addfile(folder)
    digest = [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]
    config: dict[str, Any] = {"architecture": "amd64", "os": "linux", "config": {"WorkingDir": "/tmp"}}
    config |= {"rootfs": {"type": "layers", "diff_ids": digest}, "history": [{"created_by": "a test"}]}
    types = "application/vnd.docker."
    found = {}

    def add(content: bytes, kind: str, path: str = "") -> dict[str, Any]:
        name = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for at in (f"/v2/private/blobs/{name}", f"/v2/private/manifests/{name}", path):
            found[at] = (kind, content.hex())
        return {"mediaType": kind, "size": len(content), "digest": name}

    manifest = {
        "schemaVersion": 2,
        "mediaType": types + "distribution.manifest.v2+json",
        "config": add(json.dumps(config).encode(), types + "container.image.v1+json"),
        "layers": [add(layer.getvalue(), types + "image.rootfs.diff.tar")],
    }
    add(json.dumps(manifest).encode(), manifest["mediaType"], "/v2/private/manifests/1")
    return found


@pytest.fixture
def private(server: Server) -> Iterator[str]:
    run = ["run", "-d", "--network", "host", "programs", "python3", "-c", REGISTRY, json.dumps(answers()), LOGIN]
    container = server.docker(*run).strip()
    until(lambda: "up" in server.docker("logs", container))
    yield f"{HOST}/private:1"
    server.docker("rm", "-f", container)


def test_the_engine_is_let_in(server: Server, private: str, folder: Path) -> None:
    from daytona_native import CreateSandboxFromImageParams, DaytonaError, Image

    with pytest.raises(DaytonaError, match="private"):
        server.client.create(CreateSandboxFromImageParams(image=private))
    logins = folder / "auth.json"
    logins.write_text(json.dumps({"auths": {HOST: {"auth": LOGIN}}}))
    known = Server(folder / "known", os.environ["DOCKER_HOST"], "--registry-auth-file", str(logins))
    for image in (private, Image.base(private).env({"SAID": "yes"})):
        sandbox = known.client.create(CreateSandboxFromImageParams(image=image))
        assert [file.name for file in sandbox.fs.list_files("/tmp")] == []
        sandbox.delete(wait=True)
        known.docker("rmi", "-f", private)
    known.close()
