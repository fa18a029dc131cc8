"""Runs a Docker engine for tests: `engine.py FOLDER [REGISTRY] [size=BYTES] [--OPTION ...]`.

It listens on FOLDER/docker.sock and has network, mounts and processes of its own: nothing of it touches the machine's,
and nothing outlives it. Its containers reach each other, the engine and nothing else. With REGISTRY, a folder that
docker-registry has written, that registry answers the engine on 127.0.0.1:5000; with a size its disk is no larger;
options are dockerd's. A line `ready` on the standard output says that it answers. The lines `kill` and `start` on the
standard input have the engine killed, and another one started in its place; `done` answers. It ends with its standard
input, and FOLDER with it. Exit code 77, with the reason, where what it needs is missing: root, dockerd, unshare, ip.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import registry

TOOLS = ["dockerd", "containerd", "runc", "unshare", "ip"]
LIMIT = 60.0  # seconds until it answers
NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def main() -> int:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if sys.argv[1] == "--inside":
        return inside(Path(sys.argv[2]), sys.argv[3:])
    folder = Path(sys.argv[1]).resolve()
    tools = TOOLS + (["docker-registry"] if [arg for arg in sys.argv[2:] if is_registry(arg)] else [])
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        print("missing: " + ", ".join(missing), file=sys.stderr)
        return registry.SKIPPED
    folder.mkdir(parents=True, exist_ok=True)
    command = [*NAMESPACES, sys.executable, __file__, "--inside", folder, *sys.argv[2:]]
    # Whatever ends this process closes the pipe, which ends the engine in order.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as engine:
        assert engine.stdin is not None
        try:
            path = folder / "docker.sock"
            if not wait_until_it_answers(path, engine):
                print("missing: a dockerd that starts here: " + last_line(folder / "log"), file=sys.stderr)
                return registry.SKIPPED
            print("ready", flush=True)
            for line in sys.stdin.buffer:
                engine.stdin.write(line)
                engine.stdin.flush()
                there = line.strip() == b"start"
                if not (wait_until_it_answers(path, engine) if there else wait_until_it_is_gone(path)):
                    return 1
                print("done", flush=True)
        finally:
            engine.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                engine.wait(30)
            engine.kill()
            clean_up(folder)
    return 0


def is_registry(argument: str) -> bool:
    return not argument.startswith(("-", "size="))


def inside(folder: Path, arguments: list[str]) -> int:
    """PID 1 of the engine's own processes: with it all of them end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Images lie in memory: quick, on every file system, and gone with this process.
    (folder / "data").mkdir(exist_ok=True)
    mode = ",".join(["mode=711", *(argument for argument in arguments if argument.startswith("size="))])
    subprocess.run(["mount", "-t", "tmpfs", "-o", mode, "images", folder / "data"], check=True)
    storage = [argument for argument in arguments if is_registry(argument)]
    options = [argument for argument in arguments if argument.startswith("-")]
    places = ["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
    own = ["--iptables=false", "--ip6tables=false", "--cgroup-parent", f"/{folder.name}"]
    command = ["dockerd", *own, *options, *places, "-H", f"unix://{folder}/docker.sock"]
    with contextlib.ExitStack() as stack:
        if storage:
            stack.enter_context(registry.registry(Path(storage[0]), 5000))
        log = stack.enter_context((folder / "log").open("ab"))

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        engine = start()
        for line in sys.stdin.buffer:
            if line.strip() == b"kill":
                engine.kill()
                engine.wait()
                # What it has left as orphans: the next one would take a dead containerd for one that lives.
                with contextlib.suppress(OSError):
                    os.waitpid(int((folder / "exec/containerd/containerd.pid").read_text()), 0)
                (folder / "pid").unlink(missing_ok=True)
            else:
                engine = start()
        engine.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(20)
    return 0


def wait_until_it_answers(path: Path, engine: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and engine.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if b" 200 " in connection.recv(100):
                return True
        time.sleep(0.02)
    return False


def wait_until_it_is_gone(path: Path) -> bool:
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
        except OSError:
            return True
        time.sleep(0.02)
    return False


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it says nothing"


def clean_up(folder: Path) -> None:
    groups = (path for path in Path("/sys/fs/cgroup").glob(f"**/{folder.name}") if path.is_dir())
    for group in groups:
        for path in sorted([group, *filter(Path.is_dir, group.glob("**/*"))], reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
