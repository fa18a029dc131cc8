#!/usr/bin/env python3
"""Kills the server, its launcher and its agents at random moments under load, and looks at what is left.

Nothing that was acknowledged may be lost: sandboxes, their files, settings, snapshots, deletions. Nothing of a killed
server may be left: processes, namespaces, mounts, cgroups, files that nobody refers to. It speaks plain HTTP, so that
no client's retries stand between.

usage: chaos.py [--kills N] [--seed N] [--runtime auto|ns|process]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

Json = Any
ROOT = pathlib.Path(__file__).parents[1]
LIMIT = 60.0  # seconds; far more than anything here takes
WORKERS = 3
BOXES = 3  # that a worker has at a time
GONE = object()  # an answer that did not come


class LostError(AssertionError):
    """Something is not as it was acknowledged."""


class Server:
    """The server and what belongs to it."""

    def __init__(self, data: pathlib.Path, runtime: str) -> None:
        binary = os.environ.get("DAYTONA_NATIVE_BINARY") or str(ROOT / "bindings-node/bin/daytona-native")
        self.data = data
        with open(data.parent / "log", "ab") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--port", "0", "--json", "--data-dir", str(data), "--runtime", runtime],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.address = urllib.parse.urlsplit(ready["url"]).netloc
        self.headers = {"Authorization": f"Bearer {ready['apiKey']}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Json = None) -> tuple[int, Json]:
        """The status and the body of an answer; `OSError` or `HTTPException` if none comes."""
        connection = http.client.HTTPConnection(self.address, timeout=LIMIT)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self.headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def need(self, method: str, path: str, body: Json = None) -> Json:
        status, answer = self.call(method, path, body)
        if status >= 300:
            raise LostError(f"{method} {path}: {status} {answer}")
        return answer

    def run(self, box: str, command: str) -> str:
        answer = self.need("POST", f"/toolbox/{box}/process/execute", {"command": command})
        if answer["exitCode"] != 0:
            raise LostError(f"{command!r} in {box}: {answer}")
        result: str = answer["result"]
        return result

    def kill(self, pid: int | None = None) -> None:
        os.kill(pid or self.process.pid, signal.SIGKILL)
        if pid is None:
            self.process.wait(LIMIT)
            assert self.process.stdout is not None
            self.process.stdout.close()


# What the machine has of a server.


def stat(pid: int) -> tuple[str, int, str] | None:
    """Name, parent and start time of a process; `None` for one that has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 :].rsplit(") ", 1)
    fields = rest.split()
    return None if fields[0] in "ZX" else (name, int(fields[1]), fields[19])


def processes() -> dict[int, tuple[str, int, str]]:
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {pid: found for pid in pids if (found := stat(pid))}


def family(root: int) -> dict[int, tuple[str, int, str]]:
    """A process's descendants."""
    everybody = processes()
    found: dict[int, tuple[str, int, str]] = {}
    parents = {root}
    while parents:
        children = {pid for pid, (_, parent, _) in everybody.items() if parent in parents and pid not in found}
        found |= {pid: everybody[pid] for pid in children}
        parents = children
    return found


def namespaces(pids: Iterator[int]) -> set[str]:
    found = set()
    for pid in pids:
        for kind in ("mnt", "pid", "net", "ipc", "uts", "user"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found


def cgroups(data: pathlib.Path) -> list[pathlib.Path]:
    with contextlib.suppress(OSError, ValueError):
        return [pathlib.Path(path) for path in json.loads((data / "cgroups.json").read_text())]
    return []


def within(what: Callable[[], object], problem: Callable[[], str]) -> None:
    """Waits until something holds."""
    end = time.monotonic() + LIMIT
    while not what():
        if time.monotonic() > end:
            raise LostError(problem())
        time.sleep(0.01)


class Traces:
    """What there is of a server before it is killed, none of which may be there afterwards."""

    def __init__(self, server: Server) -> None:
        self.data = server.data
        self.family = family(server.process.pid)
        own = namespaces(iter([os.getpid()]))
        self.namespaces = namespaces(iter(self.family)) - own
        self.cgroups = cgroups(server.data)

    def left(self) -> list[str]:
        now = processes()
        same = [pid for pid, found in self.family.items() if pid in now and now[pid][2] == found[2]]
        left = [f"process {pid} {self.family[pid][0]}" for pid in same]
        left += [f"namespace {one}" for one in self.namespaces & namespaces(iter(now))]
        left += [f"cgroup {path}" for path in self.cgroups if path.exists()]
        mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        return left + ([f"a mount of {self.data}"] if str(self.data) in mounts else [])


# What was acknowledged.


class Box:
    """A sandbox as its worker knows it."""

    def __init__(self, name: str, box_id: str, files: dict[str, str]) -> None:
        self.name, self.id = name, box_id
        self.files = files
        self.unsure: set[str] = set()  # files that were being written when the answer failed to come
        self.label = ""
        self.unsure_label = False
        self.deleting = False
        self.parent: Box | None = None


class Worker(threading.Thread):
    """Does one thing after another with sandboxes of its own, until it is told to end or gets no answer."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(daemon=True)
        self.world, self.number = world, number
        self.random = random.Random(world.random.random())
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.world.enough.is_set():
                if not self.step():
                    return
        except BaseException as error:  # told by the main thread
            self.problem = error

    @property
    def boxes(self) -> list[Box]:
        return self.world.boxes[self.number]

    def call(self, method: str, path: str, body: Json = None) -> Any:
        """The answer's status and body; `GONE` if there is none, as the server or its agent was killed."""
        try:
            status, answer = self.world.server.call(method, path, body)
        except (OSError, http.client.HTTPException, ValueError):
            return GONE
        if status in (502, 503) or (status == 500 and "launcher" in str(answer)):
            return GONE
        return status, answer

    def step(self) -> bool:
        if not self.boxes:
            return self.create()
        box = self.random.choice(self.boxes)
        todo: list[tuple[int, Callable[[Box], bool]]] = [
            (8, self.write),
            (3, self.upload),
            (2, self.relabel),
            (3, self.restart),
            (2, self.pause),
            (2, self.archive),
            (2, self.fork),
            (2, self.snapshot),
            (1, self.delete),
        ]
        if len(self.boxes) >= BOXES:
            todo.append((6, self.delete))
        weights, actions = zip(*todo, strict=True)
        action: Callable[[Box], bool] = self.random.choices(actions, weights)[0]
        self.world.count(action.__name__)
        return action(box)

    def create(self, snapshot: tuple[str, dict[str, str]] | None = None) -> bool:
        name = self.world.new_name(self.number)
        body: Json = {"name": name, "autoStopInterval": 0} | ({"snapshot": snapshot[0]} if snapshot else {})
        answer = self.call("POST", "/api/sandbox", body)
        if answer is GONE:
            return False
        status, made = answer
        if status == 200:
            self.boxes.append(Box(name, made["id"], dict(snapshot[1]) if snapshot else {}))
            self.haunt(self.boxes[-1])
        return True

    def haunt(self, box: Box) -> None:
        """Leaves something behind that runs for ever."""
        command = f"(exec -a {self.world.marker} sleep 100000) >/dev/null 2>&1 </dev/null &"
        self.call("POST", f"/toolbox/{box.id}/process/execute", {"command": command})

    def put(self, box: Box, name: str, text: str, send: Callable[[], Any]) -> bool:
        was_unsure = name in box.unsure
        box.unsure.add(name)
        answer = send()
        if answer is GONE:
            return False
        status, body = answer
        if status == 200 and (body or {}).get("exitCode", 0) == 0:
            box.files[name] = text
            box.unsure.discard(name)
        elif status == 409:  # it does not run
            if not was_unsure:
                box.unsure.discard(name)
            return self.change(box, "start")
        return True

    def write(self, box: Box) -> bool:
        name, text = f"w{self.random.randrange(8)}", f"{self.random.random()}"
        body = {"command": f"echo {text} > {name}.new && mv {name}.new {name}"}
        return self.put(box, name, text, lambda: self.call("POST", f"/toolbox/{box.id}/process/execute", body))

    def upload(self, box: Box) -> bool:
        name, text = f"u{self.random.randrange(8)}", f"{self.random.random()}"

        def send() -> Any:
            part = f'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n{text}\n\r\n--b--\r\n'
            headers = self.world.server.headers | {"Content-Type": "multipart/form-data; boundary=b"}
            connection = http.client.HTTPConnection(self.world.server.address, timeout=LIMIT)
            try:
                connection.request("POST", f"/toolbox/{box.id}/files/upload-v2?path={name}", part, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return GONE
            finally:
                connection.close()
            return GONE if answer.status in (502, 503) else (answer.status, None)

        return self.put(box, name, text, send)

    def relabel(self, box: Box) -> bool:
        label = f"{self.random.random()}"
        box.unsure_label = True
        answer = self.call("PUT", f"/api/sandbox/{box.id}/labels", {"labels": {"chaos": label}})
        if answer is GONE:
            return False
        if answer[0] == 200:
            box.label, box.unsure_label = label, False
        return True

    def change(self, box: Box, *what: str) -> bool:
        return all(self.call("POST", f"/api/sandbox/{box.id}/{one}") is not GONE for one in what)

    def restart(self, box: Box) -> bool:
        return self.change(box, self.random.choice(["stop", "stop?force=true"]), "start")

    def pause(self, box: Box) -> bool:
        return self.change(box, "pause", "start")

    def archive(self, box: Box) -> bool:
        return self.change(box, "stop", "archive", "start")

    def fork(self, box: Box) -> bool:
        name = self.world.new_name(self.number)
        answer = self.call("POST", f"/api/sandbox/{box.id}/fork", {"name": name})
        if answer is GONE:
            return False
        status, made = answer
        if status == 200:
            twin = Box(name, made["id"], dict(box.files))
            twin.unsure, twin.label, twin.unsure_label = set(box.unsure), box.label, box.unsure_label
            twin.parent = box
            self.boxes.append(twin)
        return True

    def snapshot(self, box: Box) -> bool:
        if box.unsure:
            return True
        name = self.world.new_name(self.number)
        answer = self.call("POST", f"/api/sandbox/{box.id}/snapshot", {"name": name})
        if answer is GONE:
            return False
        if answer[0] != 200:
            return True
        self.world.snapshots[name] = dict(box.files)
        if not self.create((name, self.world.snapshots[name])):
            return False
        files = self.world.snapshots.pop(name)
        if self.call("DELETE", f"/api/snapshots/{name}") is GONE:
            self.world.unsure_snapshots[name] = files
            return False
        return True

    def delete(self, box: Box) -> bool:
        if any(other.parent is box for other in self.boxes):
            return True
        box.deleting = True
        answer = self.call("DELETE", f"/api/sandbox/{box.id}")
        if answer is GONE:
            return False
        if answer[0] == 200:
            self.boxes.remove(box)
            self.world.deleted.append(box.id)
        box.deleting = answer[0] != 200 and box.deleting
        return True


class World:
    """The server, the workers, and what they were told."""

    def __init__(self, folder: pathlib.Path, seed: int, runtime: str) -> None:
        self.random = random.Random(seed)
        self.runtime = runtime
        self.data = folder / "data"
        self.marker = f"chaos-{os.getpid()}-{seed}"
        self.names = 0
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.enough = threading.Event()
        self.boxes: list[list[Box]] = [[] for _ in range(WORKERS)]
        self.snapshots: dict[str, dict[str, str]] = {}
        self.unsure_snapshots: dict[str, dict[str, str]] = {}
        self.deleted: list[str] = []
        self.server = Server(self.data, runtime)

    def new_name(self, worker: int) -> str:
        with self.lock:
            self.names += 1
            return f"w{worker}-{self.names}"

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def round(self, target: str) -> None:
        """Lets the workers work, kills something, and looks at what is left."""
        self.enough.clear()
        workers = [Worker(self, number) for number in range(WORKERS)]
        for worker in workers:
            worker.start()
        time.sleep(self.random.uniform(0.02, 0.7))
        self.count(f"kill {target}")
        traces = Traces(self.server)
        if target == "server":
            self.server.kill()
        else:
            names = {"launcher": ["launcher"], "agent": ["sandbox-agent", "sandbox-init"]}[target]
            # What the launcher forks has its name for a moment.
            pids = [
                pid
                for pid, (name, parent, _) in traces.family.items()
                if name in names and (target == "agent" or parent == self.server.process.pid)
            ]
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    self.server.kill(self.random.choice(pids))
            time.sleep(self.random.uniform(0, 0.2))
        self.enough.set()
        for worker in workers:
            worker.join(LIMIT)
            if worker.is_alive():
                raise LostError(f"a call hangs after the end of the {target}")
            if worker.problem:
                raise worker.problem
        if target == "server":
            self.server = Server(self.data, self.runtime)
        if target != "agent":
            if target == "launcher":
                # Another one follows, and what it makes may have the numbers of namespaces that are gone.
                traces.namespaces.clear()
            within(lambda: not traces.left(), lambda: f"left over: {traces.left()}")
        if target == "server":
            self.stored()
        self.look()

    def stored(self) -> None:
        """Nothing lies in the data directory that nothing refers to."""
        known = {box["id"]: box["state"] for box in self.list("sandbox")}
        snapshots = {one["id"] for one in self.list("snapshots")}
        left = []
        for folder, wanted in [("sandboxes", known.keys()), ("snapshots", snapshots), ("archives", known.keys())]:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(self.data / folder):
                    one = name.removesuffix(".tar.zst")
                    packed = known.get(one) == "archived"
                    right = one in wanted and (folder == "snapshots" or packed == (folder == "archives"))
                    left += [] if right else [f"{folder}/{name} ({known.get(one)})"]
        if left:
            raise LostError(f"left over: {left}")

    def list(self, what: str) -> list[Json]:
        items: list[Json] = self.server.need("GET", f"/api/{what}?limit=200")["items"]
        return items

    def look(self) -> None:
        """Compares what is there with what was acknowledged."""
        there = {box["id"]: box for box in self.list("sandbox")}
        for box_id in self.deleted:
            if box_id in there:
                raise LostError(f"{box_id} was deleted and is there again: {there[box_id]}")
        for boxes in self.boxes:
            for box in [box for box in boxes if box.deleting]:
                if box.id not in there or there[box.id]["state"] in ("destroying", "destroyed"):
                    boxes.remove(box)
                box.deleting = False
        mine = [box for boxes in self.boxes for box in boxes]
        for box in mine:
            if box.id not in there:
                raise LostError(f"{box.name} ({box.id}) is gone")
            label = there[box.id]["labels"].get("chaos", "")
            if not box.unsure_label and label != box.label:
                raise LostError(f"{box.name} has the label {label!r}, not {box.label!r}")
            box.label, box.unsure_label = label, False
        for box in self.random.sample(mine, min(2, len(mine))):
            self.check(box)
        # Never acknowledged: it may be there, whole.
        unknown = there.keys() - {box.id for box in mine}
        for box_id in sorted(unknown, key=lambda one: there[one]["createdAt"], reverse=True):
            self.server.call("DELETE", f"/api/sandbox/{box_id}")
        names = {one["name"]: one for one in self.list("snapshots") if not one["general"]}
        for name, files in self.snapshots.items():
            if name not in names:
                raise LostError(f"snapshot {name} is gone")
            made = self.server.need("POST", "/api/sandbox", {"snapshot": name})
            self.same(name, made["id"], files, set())
            self.server.need("DELETE", f"/api/sandbox/{made['id']}")
        for name in names:
            self.server.need("DELETE", f"/api/snapshots/{name}")
        self.snapshots.clear()
        self.unsure_snapshots.clear()

    def check(self, box: Box) -> None:
        within(
            lambda: self.server.call("POST", f"/api/sandbox/{box.id}/start")[0] == 200,
            lambda: f"{box.name} does not start: {self.server.call('POST', f'/api/sandbox/{box.id}/start')}",
        )
        self.same(box.name, box.id, box.files, box.unsure)

    def same(self, name: str, box_id: str, files: dict[str, str], unsure: set[str]) -> None:
        shown = self.server.run(box_id, "for f in w? u?; do [ -e $f ] && echo $f $(cat $f); done; true")
        found = {line.partition(" ")[0]: line.partition(" ")[2] for line in shown.splitlines()}
        for file, text in files.items():
            if file not in unsure and found.get(file) != text:
                raise LostError(f"{file} in {name} is {found.get(file)!r}, not {text!r}")
        for file in unsure:
            if file in found:
                files[file] = found[file]
            elif file in files:
                raise LostError(f"{file} in {name} is gone")
        unsure.clear()

    def end(self) -> None:
        traces = Traces(self.server)
        self.server.process.terminate()
        self.server.process.wait(LIMIT)
        within(lambda: not traces.left(), lambda: f"left over: {traces.left()}")
        haunted = subprocess.run(["pgrep", "-cf", self.marker], capture_output=True, text=True, check=False)
        if haunted.stdout.strip() not in ("", "0"):
            raise LostError(f"{haunted.stdout.strip()} processes run on")


def main() -> int:
    """Run it, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--runtime", default="auto")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="daytona-chaos-", ignore_cleanup_errors=True) as folder:
        world = World(pathlib.Path(folder), options.seed, options.runtime)
        number = 0
        try:
            for _ in range(options.kills):
                number += 1
                world.round(world.random.choices(["server", "agent", "launcher"], [6, 3, 1])[0])
            world.end()
        except BaseException as error:
            log = pathlib.Path(folder, "log").read_text(errors="replace").splitlines()
            print(*log[-40:], f"kill {number} of --seed {options.seed}: {error}", sep="\n", file=sys.stderr)
            with contextlib.suppress(OSError):
                world.server.process.kill()
            return 1
    took = time.monotonic() - begin
    print(f"{options.kills} kills in {took:.0f} s, nothing lost, nothing left (seed {options.seed})")
    print(", ".join(f"{what} {count}" for what, count in sorted(world.counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
