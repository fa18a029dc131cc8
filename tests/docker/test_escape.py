"""Ways out of a container, each tried from inside, as the image's user and as root.

What a container leaves open says docs/security.md.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Server

REFUSED = {
    "processes of others": [
        "cat /proc/1/environ | grep -q .",
        "head -c 1 /proc/1/mem",
        "cat /proc/1/exe >/dev/null",
        "ls /proc/1/root/ >/dev/null",
        "ls /proc/1/cwd/ >/dev/null",
        "nsenter -t 1 -m true",
        "nsenter -t 1 -n true",
    ],
    "the kernel": [
        "head -c 1 /proc/kcore | grep -q .",
        "cat /proc/keys | grep -q .",
        "echo b > /proc/sysrq-trigger",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo 1 > /proc/irq/default_smp_affinity",
        "date -s 2001-01-01",
        "hostname other",
    ],
    "mounts": [
        "mount -t tmpfs x /mnt",
        "mount --bind / /mnt",
        "mount -o remount,rw /proc/sys",
        "umount /proc/sys",
        "umount -l /dev",
        "mount -t proc proc /mnt",
        "mount -t sysfs sysfs /mnt",
        "unshare -Urm mount -o remount,rw /proc/sys",
        "unshare -Urmpf mount -t proc proc /mnt",
    ],
    "devices": [
        "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk",
        "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem",
        "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg",
        "head -c 1 /dev/vda",
        "exec 3<>/dev/net/tun",
    ],
    "the network": [
        "ip link set lo down",
        "ip addr add 192.0.2.77/24 dev lo",
        "ip route del default",
        "iptables -L || nft list ruleset",
    ],
    "limits": [
        "cd /sys/fs/cgroup/memory && echo 8589934592 > memory.limit_in_bytes",
        "cd /sys/fs/cgroup/cpu && echo 800000 > cpu.cfs_quota_us",
        "test -e /sys/fs/cgroup/cgroup.procs && echo 8589934592 > /sys/fs/cgroup/memory.max",
        "test -e /sys/fs/cgroup/cgroup.procs && echo 800000 > /sys/fs/cgroup/cpu.max",
        "ulimit -n 2000000",
    ],
    "the agent": [
        "echo x >> /.daytona/agent",
        "rm -f /.daytona/agent",
        "touch /.daytona/run/x",
        "test -e /.daytona/run/lease",
        "find / -xdev -type s -name '*.sock' | grep -q .",
    ],
}
TRACE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
class Piece(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
space = ctypes.create_string_buffer(8)
here, there = Piece(ctypes.addressof(space), 8), Piece(0x400000, 8)
pids = [int(pid) for pid in os.listdir('/proc') if pid.isdigit()]
for pid in sorted(pid for pid in pids if open(f'/proc/{pid}/comm').read().strip() in ('agent', 'exe')):
    read = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    print(libc.ptrace(16, pid, None, None), read)
"""


@pytest.fixture(scope="module", params=["daytona", "root"])
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from daytona_native import CreateSandboxFromSnapshotParams

    server = Server(tmp_path_factory.mktemp("escape"), os.environ["DOCKER_HOST"])
    yield server.client.create(CreateSandboxFromSnapshotParams(os_user=request.param))
    server.close()


@pytest.mark.parametrize("what", REFUSED)
def test_refused(sandbox: Any, what: str) -> None:
    for command in REFUSED[what]:
        done = sandbox.process.exec(f"({command}) 2>&1")
        assert done.exit_code != 0, f"{command}: {done.result}"


def test_nothing_is_traced(sandbox: Any) -> None:
    assert sandbox.process.code_run(TRACE).result == "-1 -1\n-1 -1\n"


def test_the_machine_is_not_seen(sandbox: Any) -> None:
    folder = Path.cwd()
    assert sandbox.process.exec(f"ls {folder}").exit_code != 0
    processes = sandbox.process.exec("cat /proc/[0-9]*/comm").result
    assert "dockerd" not in processes and "python" not in processes
    for pid in (os.getpid(), os.getppid()):
        assert sandbox.process.exec(f"ls /proc/{pid}/cwd/").exit_code != 0
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        name = f"escape-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        port = listener.getsockname()[1]
        assert sandbox.process.exec(f"exec 3<>/dev/tcp/127.0.0.1/{port}").exit_code != 0
        found = sandbox.process.exec(f"grep -c {name} /proc/net/unix").result
        assert found.strip() == "0"


def test_files_stay_inside(sandbox: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("gold")
    sandbox.process.exec("ln -sfn / out; ln -sfn ../../../../../.. up")
    from daytona_native import DaytonaError

    for escape in ("out", "up", "../../../../../..", ""):
        with pytest.raises(DaytonaError):
            sandbox.fs.download_file(f"{escape}{tmp_path}/secret")
        sandbox.fs.create_folder(f"{escape}{tmp_path}/made", "755")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
