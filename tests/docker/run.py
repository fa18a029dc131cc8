#!/usr/bin/env python3
"""Runs the behaviour cases and the builds of images on a Docker engine: `run.py [SUITE ...]`.

The engine is one of its own, with a registry (tests/images/engine.py); its containers reach no other network. Their
image is Debian with the programs that cases use, made once and kept below target/images. The suites are the clients
that run the cases (rust, python, node), the builds with every client, official ones included, and what only this
runtime has (own). Exit code 77, with the reason as the last line, where what it needs is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/images"), str(ROOT / "tests/cases")]
TARGET = ROOT / "target"
AGENT = ROOT / "bindings-node/bin/daytona-agent"
PROFILE = os.environ.get("PROFILE", "quick")
OFFICIAL = TARGET / "official"
REGISTRY = "127.0.0.1:5000"
PROGRAMS = ["git", "curl", "nodejs", "procps"]
SKIPPED = 77


def main() -> int:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if not AGENT.is_file():
        print(f"skipped: {AGENT} is not there: run `make build`")
        return SKIPPED
    suites: dict[str, Callable[[], None]] = {
        "own": lambda: run(sys.executable, "-m", "pytest", "-q", "--durations=8", "tests/docker"),
        "builds": builds,
        "rust": lambda: run("cargo", "test", "--profile", PROFILE, "--locked", "--workspace", "--test", "cases"),
        "python": lambda: run(sys.executable, "-m", "pytest", "-q", "tests/python/test_cases.py"),
        "node": lambda: run("node", "--test", "--test-reporter=dot", "tests/node/cases.test.mjs"),
    }
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=TARGET, ignore_cleanup_errors=True)))
        try:
            if shutil.which("docker") is None:
                raise MissingError("missing: docker, the engine's client")
            storage = with_images(folder)
            image = programs(storage)
            host = stack.enter_context(engine(storage))
        except MissingError as missing:
            print(f"skipped: {missing}")
            return SKIPPED
        os.environ |= {
            "DAYTONA_NATIVE_AGENT": str(AGENT),
            "DAYTONA_NATIVE_DOCKER_IMAGE": "programs",
            "DAYTONA_NATIVE_TEST_OFFLINE": "1",
            "DAYTONA_NATIVE_TEST_RUNTIME": "docker",
            "DAYTONA_NATIVE_TEST_REGISTRY": str(storage),
            "DOCKER_HOST": host,
        }
        docker("import", "--change", "USER daytona", "--change", 'CMD ["bash"]', str(image), "programs")
        print("engine and image are there", flush=True)
        failed = []
        for name in sys.argv[1:] or suites:
            begun = time.monotonic()
            try:
                suites[name]()
            except (AssertionError, subprocess.CalledProcessError) as error:
                print(f"FAILED docker {name}: {error}")
                failed.append(name)
            print(f"docker {name}: {time.monotonic() - begun:.0f} s", flush=True)
        left = docker("ps", "-q").split()
        if left:
            print(f"FAILED docker: containers still run: {left}")
    return bool(failed or left)


class MissingError(Exception):
    """What is needed is not there."""


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, cwd=ROOT, stdin=subprocess.DEVNULL)


def docker(*args: str, **options: object) -> str:
    result = subprocess.run(["docker", *args], check=True, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    return str(result.stdout)


@contextlib.contextmanager
def script(name: str, *args: str | Path) -> Iterator[tuple[str, Callable[[str], None]]]:
    """What a script of tests/images says when it is ready, and what tells it more; it ends with the block."""
    command = [sys.executable, ROOT / "tests/images" / name, *args]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        line = process.stdout.readline()
        if not line:
            why = process.stderr.read()
            if process.wait() == SKIPPED:
                raise MissingError(why.strip())
            raise RuntimeError(why)
        tell, answers = process.stdin, process.stdout

        def told(what: str) -> None:
            tell.write(what + "\n")
            tell.flush()
            assert answers.readline() == "done\n", what

        try:
            yield line, told
        finally:
            tell.close()


def with_images(folder: Path) -> Path:
    """The files of a registry that has the tests' images."""
    storage = folder / "registry"
    storage.mkdir()
    with script("registry.py", storage):
        return storage


@contextlib.contextmanager
def engine(storage: Path) -> Iterator[str]:
    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="dk", ignore_cleanup_errors=True) as short:
        folder = Path(short) / "engine"
        with script("engine.py", folder, storage):
            yield f"unix://{folder}/docker.sock"


def programs(storage: Path) -> Path:
    """The archive of a root with what cases run, upon that of debian:12."""
    layer = layer_of(storage, "debian", "12")
    made = hashlib.sha256(layer.name.encode() + str(layer.parent).encode()[-64:] + " ".join(PROGRAMS).encode())
    archive = TARGET / "images" / f"programs-{made.hexdigest()[:16]}.tar"
    with (TARGET / "images" / "programs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if archive.exists():
            return archive
        with tempfile.TemporaryDirectory(dir=TARGET / "images", ignore_cleanup_errors=True) as folder:
            root = Path(folder) / "root"
            root.mkdir()
            subprocess.run(["tar", "-xzf", layer, "-C", root], check=True)
            shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
            apt = "apt-get -qq -o APT::Sandbox::User=root -o Dpkg::Options::=--force-unsafe-io"
            install = (
                f"{apt} update && {apt} install -y --no-install-recommends {' '.join(PROGRAMS)} >/dev/null && "
                "apt-get clean && rm -rf /var/lib/apt/lists/* && useradd -m -s /bin/bash daytona"
            )
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            if subprocess.run(["chroot", root, "sh", "-ec", install], env=quiet).returncode:
                raise MissingError("missing: a Debian mirror")
            subprocess.run(["tar", "--numeric-owner", "-cf", f"{folder}/new.tar", "-C", root, "."], check=True)
            os.rename(f"{folder}/new.tar", archive)
    return archive


def layer_of(storage: Path, name: str, tag: str) -> Path:
    """The file of the uppermost layer of an image in a registry."""
    base = storage / "docker/registry/v2"

    def blob(digest: str) -> Path:
        hexed = digest.split(":")[1]
        return base / "blobs/sha256" / hexed[:2] / hexed / "data"

    link = base / "repositories" / name / "_manifests/tags" / tag / "current/link"
    return blob(json.loads(blob(link.read_text()).read_text())["layers"][-1]["digest"])


def builds() -> None:
    """Builds with every client, as tests/images/client.* do; pip finds its package in the base image."""
    base = f"{REGISTRY}/pip:12"
    dockerfile = (
        f"FROM {REGISTRY}/debian:12\nCOPY six-1.0-py3-none-any.whl /wheels/\n"
        'RUN printf "[global]\\nno-index = true\\nfind-links = /wheels\\n" > /etc/pip.conf\n'
    )
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in (("Dockerfile", dockerfile.encode()), ("six-1.0-py3-none-any.whl", wheel("six", "1.0"))):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    built = subprocess.run(
        ["docker", "build", "-q", "-t", base, "-"], input=context.getvalue(), check=True, stdout=subprocess.PIPE
    )
    print(built.stdout.decode().strip())
    docker("push", "-q", base)
    docker("rmi", "-f", base)
    from runner import Server  # type: ignore[import-not-found]

    server = Server()
    try:
        with tempfile.TemporaryDirectory() as folder:
            app = Path(folder) / "app"
            (app / "sub").mkdir(parents=True)
            (app / "main.txt").write_text("main\n")
            (app / "sub/other.txt").write_text("other\n")
            (app / "run.sh").write_text("#!/bin/sh\n")
            (app / "run.sh").chmod(0o755)
            for number, (client, command) in enumerate(clients().items()):
                arguments = [server.url, server.api_key, base, str(app), f"made-{number}"]
                if client == "official Python":
                    # It uploads over TLS only.
                    command = [command[0], str(ROOT / "tests/images/behind_tls.py"), server.url, *command]
                check_build(client, [*command, *arguments], number)
    finally:
        server.close()


def clients() -> dict[str, list[str]]:
    python, node = str(ROOT / "tests/images/client.py"), str(ROOT / "tests/images/client.mjs")
    found = {
        "Python": [sys.executable, python, "daytona_native"],
        "Node": ["node", node, str(ROOT / "bindings-node")],
    }
    if (OFFICIAL / ".ready").exists():
        found["official Python"] = [str(OFFICIAL / "venv/bin/python"), python, "daytona"]
        found["official Node"] = ["node", node, str(OFFICIAL / "node_modules/@daytona/sdk")]
    return found


def check_build(client: str, command: list[str], number: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "bindings-python/python")}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    if result.returncode == SKIPPED:
        print(f"skipped: the {client} client: {result.stderr}")
        return
    assert result.returncode == 0, f"{client}: {result.stderr}"
    answer = json.loads(result.stdout)
    assert answer["plain"] == "12\n", (client, answer)
    for name in ("built", "snapshot"):
        assert answer[name] == "/app\nbuilt\nsix two words\nmain\nother\n755\n", (client, name, answer)
    assert answer["state"] == "active", (client, answer)
    lines = [line for line in answer["logs"].splitlines() if line.strip()]
    cached = ["Using cache" in after for line, after in itertools.pairwise(lines) if " : RUN " in line]
    # Who comes first builds; whoever comes later has it from the engine's cache.
    assert cached == [number > 0] * 3, (client, answer["logs"])
    # The official ones miss the log of a build that is shorter than the second between two looks.
    told = client.startswith("official") or "Successfully built" in answer["snapshotLogs"]
    assert told, (client, answer["snapshotLogs"])
    took = answer["seconds"]
    print(f"{client}: of an image {took['image']:.2f} s, its snapshot {took['snapshot']:.2f}, plain {took['host']:.2f}")


def wheel(name: str, version: str) -> bytes:
    """A Python package with nothing in it."""
    packed = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
