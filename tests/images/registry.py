"""Serves images from a registry on loopback: `registry.py [FOLDER]`.

They are made once with debootstrap and kept below target/images: `debian:12`, with Python and pip, and `small:1`, a
shell and little else. With FOLDER the registry has a copy of them there, which may be changed. A line `ready ADDRESS`
on the standard output says that it answers; it ends with its standard input. Exit code 77, with the reason, where what
it needs is missing: root, debootstrap with a Debian mirror, docker-registry, skopeo.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

# Of what is made: another one is made anew.
VERSION = "1"
PACKAGES = ["ca-certificates", "python3-pip", "python-is-python3", "busybox-static"]
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
CACHE = Path(__file__).resolve().parents[2] / "target" / "images"
MIRROR = os.environ.get("DAYTONA_NATIVE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
TOOLS = ["debootstrap", "docker-registry", "skopeo"]
SKIPPED = 77


def main() -> int:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        print("missing: " + ", ".join(missing), file=sys.stderr)
        return SKIPPED
    cache = CACHE / VERSION
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "registry").exists():
            try:
                make(cache)
            except UnreachableError as why:
                print(f"missing: {why}", file=sys.stderr)
                return SKIPPED
    storage = cache / "registry"
    if len(sys.argv) > 1:
        storage = Path(sys.argv[1])
        # Links: who changes a file replaces it.
        shutil.copytree(cache / "registry", storage, copy_function=os.link, dirs_exist_ok=True)
    with registry(storage, free_port()) as address:
        print(f"ready {address}", flush=True)
        sys.stdin.read()
    return 0


class UnreachableError(Exception):
    """A Debian root cannot be made on this machine."""


def make(cache: Path) -> None:
    root, layout, storage = cache / "root", cache / "layout", cache / "registry.new"
    for old in (root, layout, storage):
        shutil.rmtree(old, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), "bookworm", root, MIRROR]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        raise UnreachableError(f"what debootstrap needs: {' '.join(made.stdout.splitlines()[-2:])}")
    shutil.rmtree(root / "var/cache/apt/archives")
    # A network may have an authority of its own, which this machine trusts.
    shutil.copy("/" / CERTIFICATES, root / CERTIFICATES)
    storage.mkdir()
    with registry(storage, free_port()) as address:
        for name, packed in (("debian:12", pack(root, cache)), ("small:1", pack(small(root, cache), cache))):
            shutil.rmtree(layout, ignore_errors=True)
            write_layout(layout, *packed)
            target = f"docker://{address}/{name}"
            command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:image", target]
            subprocess.run(command, check=True)
    storage.rename(cache / "registry")
    for folder in (root, layout, cache / "small"):
        shutil.rmtree(folder)


def small(root: Path, cache: Path) -> Path:
    """A root with a shell and its usual commands."""
    folder = cache / "small"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bin", "etc", "root", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    shutil.copy(root / "bin/busybox", folder / "bin")
    for name in subprocess.run(
        [root / "bin/busybox", "--list"], check=True, capture_output=True, text=True
    ).stdout.split():
        if name != "busybox":
            (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/tmp:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\nweb:x:33:\n")
    return folder


def pack(root: Path, cache: Path) -> tuple[Path, str]:
    """The layer of a root, and the digest of what is in it."""
    plain, packed = cache / "layer.tar", cache / f"{root.name}.tar.gz"
    with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(root, arcname=".", filter=lambda entry: None if entry.ischr() or entry.isblk() else entry)
    diff_id = digest(plain)
    with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    plain.unlink()
    return packed, diff_id


def write_layout(layout: Path, packed: Path, diff_id: str) -> None:
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer = store(blobs, packed)
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = {
        "architecture": arch,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created_by": "debootstrap"}],
    }
    types = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "mediaType": types + "manifest.v1+json",
        "config": {"mediaType": types + "config.v1+json", **write(blobs, config)},
        "layers": [{"mediaType": types + "layer.v1.tar+gzip", **layer}],
    }
    described = {
        "mediaType": types + "manifest.v1+json",
        **write(blobs, manifest),
        "annotations": {"org.opencontainers.image.ref.name": "image"},
    }
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def store(blobs: Path, file: Path) -> dict[str, object]:
    name = digest(file)
    size = file.stat().st_size
    shutil.move(file, blobs / name)
    return {"digest": f"sha256:{name}", "size": size}


def write(blobs: Path, value: object) -> dict[str, object]:
    text = json.dumps(value).encode()
    name = hashlib.sha256(text).hexdigest()
    (blobs / name).write_bytes(text)
    return {"digest": f"sha256:{name}", "size": len(text)}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def registry(storage: Path, port: int) -> Iterator[str]:
    """A registry with this storage, while it is needed."""
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yml"
        settings = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(storage)}},
            "http": {"addr": address},
        }
        # JSON is YAML.
        config.write_text(json.dumps(settings))
        with subprocess.Popen(
            ["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                wait_until_it_answers(address, process)
                yield address
            finally:
                process.terminate()


def wait_until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        if process.poll() is not None:
            raise RuntimeError(f"docker-registry ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("docker-registry does not answer")


if __name__ == "__main__":
    raise SystemExit(main())
