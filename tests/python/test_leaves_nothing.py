"""The check at the end of each suite, that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

SUPERVISOR = pathlib.Path(__file__).parents[2] / "scripts/leaves-nothing"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only files are looked for elsewhere")


def suite(folder: pathlib.Path, command: str, grace: float = 0) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(SUPERVISOR), "--grace", str(grace), "suite", command]
    env = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, check=False)


def left(done: subprocess.CompletedProcess[str]) -> list[str]:
    begin = "LEFT OVER by suite: "
    return [line.removeprefix(begin) for line in done.stdout.splitlines() if line.startswith(begin)]


@pytest.mark.parametrize(("command", "code"), [("echo out", 0), ("echo out; exit 77", 77), ("echo out; kill $$", 143)])
def test_a_suite_that_leaves_nothing_ends_as_it_does(tmp_path: pathlib.Path, command: str, code: int) -> None:
    done = suite(tmp_path, command)
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "")
    assert not list(tmp_path.iterdir())


def test_files_fail_it_and_go(tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other"
    other.write_text("of somebody else")
    done = suite(tmp_path, 'mkdir "$TMPDIR"/folder; touch "$TMPDIR"/folder/inside; mkdir "$TMPDIR"/pytest-of-somebody')
    assert done.returncode == 1, done
    (one,) = left(done)
    assert one.startswith("file ")
    assert one.endswith("/folder with inside")
    assert list(tmp_path.iterdir()) == [other]


@linux
def test_processes_fail_it_and_end_also_those_that_nobody_knows(tmp_path: pathlib.Path) -> None:
    begin = "PYTEST_CURRENT_TEST=test_it setsid bash -c 'exec -a left-over-of-a-suite sleep 1000' >/dev/null 2>&1 &"
    there = "until grep -q ^left-over-of /proc/$!/cmdline; do sleep 0.05; done"
    done = suite(tmp_path, f"{begin} echo $! > {tmp_path}/pid; {there}")
    assert done.returncode == 1, done
    pid = (tmp_path / "pid").read_text().strip()
    (one,) = left(done)
    assert "left-over-of-a-suite 1000" in one
    assert one.endswith(", of test_it")
    assert not pathlib.Path("/proc", pid).exists()


def test_what_ends_in_time_is_not_left(tmp_path: pathlib.Path) -> None:
    wait = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    done = suite(
        tmp_path, f'touch "$TMPDIR"/file; ({wait}; rm "$TMPDIR"/file) & (sleep 0.3; touch {tmp_path}/go) &', 30
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def hierarchy() -> Iterator[pathlib.Path]:
    """A folder in which this user can make cgroups."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup" in line:
            place = pathlib.Path(line.split()[4])
            with contextlib.suppress(OSError):
                (place / f"test-{os.getpid()}").mkdir()
                (place / f"test-{os.getpid()}").rmdir()
                yield place
                return
    pytest.skip("this user cannot make cgroups")


@linux
def test_cgroups_of_its_servers_fail_it_and_go(tmp_path: pathlib.Path, hierarchy: pathlib.Path) -> None:
    group = f"{hierarchy}/daytona-native-1-1-$!-1"
    launcher = f"sleep 1000 >/dev/null 2>&1 & echo $! > {tmp_path}/pid"
    done = suite(tmp_path, f"{launcher}; mkdir {group}; mkdir {group}/below")
    assert done.returncode == 1, done
    made = hierarchy / f"daytona-native-1-1-{(tmp_path / 'pid').read_text().strip()}-1"
    assert left(done)[1:] == [f"cgroup {made}"]
    assert not made.exists()


@linux
def test_cgroups_of_others_are_theirs(tmp_path: pathlib.Path, hierarchy: pathlib.Path) -> None:
    group = hierarchy / f"daytona-native-1-1-{os.getppid()}-1"
    try:
        done = suite(tmp_path, f"mkdir {group}")
        assert (done.returncode, done.stdout) == (0, "")
        assert group.exists()
    finally:
        group.rmdir()
