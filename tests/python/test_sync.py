"""The synchronous client among threads, signals, forks and the interpreter's end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Fake, Server
from daytona_native import (
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaNotFoundError,
    ListSandboxesQuery,
    Sandbox,
    SandboxState,
)


def program(fake: Fake, code: str) -> subprocess.Popen[str]:
    """Run Python code that has `box`, a sandbox of the fake server."""
    start = "from daytona_native import Daytona; box = Daytona().get('box')\n"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        env=fake.environment(),
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_the_life_of_a_sandbox(server: Server) -> None:
    with Daytona(server.config) as daytona:
        sandbox = daytona.create(CreateSandboxFromSnapshotParams(name="sync-life", labels={"test": "life"}))
        assert daytona.get(sandbox.id).state is SandboxState.STARTED
        assert sandbox.name == "sync-life"
        assert isinstance(sandbox.cpu, int)
        assert daytona.get("sync-life").id == sandbox.id
        assert [found.id for found in daytona.list(ListSandboxesQuery(labels={"test": "life"}))] == [sandbox.id]
        assert sandbox.model_dump(mode="json")["state"] == "started"
        assert sandbox.to_dict()["toolboxProxyUrl"] == sandbox.toolbox_proxy_url
        assert "started" in repr(sandbox)
        daytona.stop(sandbox)
        assert sandbox.state is SandboxState.STOPPED
        daytona.start(sandbox)
        assert sandbox.process.exec("echo $((6 * 7))").result == "42\n"
        sandbox.set_autostop_interval(7)
        assert sandbox.auto_stop_interval == 7
        with pytest.warns(DeprecationWarning, match="get_user_home_dir"):
            assert sandbox.get_user_root_dir() == sandbox.get_user_home_dir()
        daytona.delete(sandbox, wait=True)
        with pytest.raises(DaytonaNotFoundError):
            sandbox.refresh_data()
        with pytest.raises(AttributeError, match="no attribute 'statee'"):
            sandbox.statee  # type: ignore[attr-defined]  # noqa: B018


def test_pages_follow_each_other(server: Server) -> None:
    daytona = Daytona(server.config)
    made = [daytona.create(CreateSandboxFromSnapshotParams(labels={"test": "pages"})) for _ in range(3)]
    query = ListSandboxesQuery(limit=1, labels={"test": "pages"})
    assert {sandbox.id for sandbox in daytona.list(query)} == {sandbox.id for sandbox in made}
    for sandbox in made:
        sandbox.delete()


def test_many_threads_share_a_client(fake_sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda n: fake_sandbox.process.exec(f"say {n}").result, range(400)))
    assert results == [f"say {n}" for n in range(400)]


def test_a_waiting_thread_keeps_nobody_waiting(fake: Fake, fake_sandbox: Sandbox) -> None:
    def block() -> None:
        with pytest.raises(Exception, match="broke"):
            fake_sandbox.process.exec("block")

    thread = threading.Thread(target=block)
    thread.start()
    assert fake.blocked.acquire(timeout=10)
    # The blocked thread drives the runtime meanwhile.
    assert fake_sandbox.process.exec("quick").result == "quick"
    fake.drop()
    thread.join(10)
    assert not thread.is_alive()


def test_ctrl_c_answers_at_once(fake: Fake) -> None:
    process = program(
        fake,
        """
        import time
        try:
            box.process.exec("block")
        except KeyboardInterrupt:
            print(time.monotonic())
        print(box.process.exec("still works").result)
        """,
    )
    assert fake.blocked.acquire(timeout=10)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    status, out, err = ended(process)
    assert (status, err) == (0, "")
    answered, after = out.splitlines()
    assert float(answered) - begin < 0.15
    assert after == "still works"
    assert fake.left.acquire(timeout=10), "the request goes with the call"


def test_a_signal_handler_may_use_the_client(fake: Fake) -> None:
    process = program(
        fake,
        """
        import signal
        def handler(*_):
            print(box.process.exec("from the handler").result)
            raise SystemExit(3)
        signal.signal(signal.SIGTERM, handler)
        box.process.exec("block")
        """,
    )
    assert fake.blocked.acquire(timeout=10)
    process.terminate()
    assert ended(process) == (3, "from the handler\n", "")


def test_the_end_of_the_program_waits_for_nobody(fake: Fake) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, threading\nfrom daytona_native import Daytona\nbox = Daytona().get('box')\n"
            "for _ in range(4):\n"
            "    threading.Thread(target=box.process.exec, args=('block',), daemon=True).start()\n"
            "sys.stdin.read()\n",
        ],
        env=fake.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(4):
        assert fake.blocked.acquire(timeout=10)
    begin = time.monotonic()
    assert ended(process) == (0, "", "")
    assert time.monotonic() - begin < 2


def test_threads_that_return_while_the_interpreter_ends(fake: Fake) -> None:
    code = """
        import threading
        def loop():
            while True:
                box.process.exec("quick")
        for _ in range(8):
            threading.Thread(target=loop, daemon=True).start()
        for _ in range(20):
            box.process.exec("main")
        """
    for _ in range(5):
        assert ended(program(fake, code)) == (0, "", "")


def test_a_sandbox_deleted_at_exit(fake: Fake) -> None:
    code = """
        import atexit
        atexit.register(lambda: print(box.process.exec("bye").result))
        """
    assert ended(program(fake, code)) == (0, "bye\n", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork(fake_sandbox: Sandbox) -> None:
    assert fake_sandbox.process.exec("parent").result == "parent"
    child = os.fork()
    if child == 0:
        try:
            right = fake_sandbox.process.exec("child").result == "child"
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert fake_sandbox.process.exec("parent again").result == "parent again"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def in_child(sandbox: Sandbox, answers: multiprocessing.SimpleQueue[str]) -> None:
    with ThreadPoolExecutor(4) as threads:
        for answer in threads.map(lambda n: sandbox.process.exec(f"child {n}").result, range(8)):
            answers.put(answer)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_multiprocessing_by_fork_while_calls_are_under_way(fake: Fake, fake_sandbox: Sandbox) -> None:
    thread = threading.Thread(target=lambda: fake_sandbox.process.exec("block"), daemon=True)
    thread.start()
    assert fake.blocked.acquire(timeout=10)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=in_child, args=(fake_sandbox, answers))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert [answers.get() for _ in range(8)] == [f"child {n}" for n in range(8)]
