"""A server on the engine that DOCKER_HOST names, or on one of a test's own. run.py sets what these tests need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/docker"), str(ROOT / "bindings-python/python")]
BASE = "127.0.0.1:5000/debian:12"


class Server:
    """A local server with containers, and a client of it."""

    def __init__(self, data: Path, host: str, *options: str) -> None:
        from daytona_native import Daytona, DaytonaConfig

        self.host = host
        binary = os.environ.get("DAYTONA_NATIVE_BINARY") or str(ROOT / "bindings-node/bin/daytona-native")
        command = [binary, "serve", "--runtime", "docker", "--port", "0", "--json", "--data-dir", str(data), *options]
        environment = {**os.environ, "DOCKER_HOST": host}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout
        ready = json.loads(self.process.stdout.readline())
        self.config = DaytonaConfig(api_key=ready["apiKey"], api_url=ready["url"])
        self.client: Any = Daytona(self.config)

    def docker(self, *args: str) -> str:
        environment = {**os.environ, "DOCKER_HOST": self.host}
        return subprocess.run(["docker", *args], check=True, capture_output=True, text=True, env=environment).stdout

    def kill(self) -> None:
        """Ends it the way a crash does."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        for sandbox in self.client.list():
            sandbox.delete(wait=True)
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="daytona-docker-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder / "data", os.environ["DOCKER_HOST"])
    yield server
    server.close()
