"""Serves a Debian image from a registry on loopback: `registry.py PORT`.

The image is made once with debootstrap, as `debian:12`, and kept below target/images. A line `ready` on the standard
output says that the registry answers; it ends with its standard input. Exit code 77, with the reason, where what it
needs is missing: root, debootstrap, docker-registry, skopeo.
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
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

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
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / "registry").exists():
            make()
    with registry(CACHE / "registry", int(sys.argv[1])):
        print("ready", flush=True)
        sys.stdin.read()
    return 0


def make() -> None:
    root, layout, storage = CACHE / "root", CACHE / "layout", CACHE / "registry.new"
    for old in (layout, storage):
        shutil.rmtree(old, ignore_errors=True)
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", "--include=python3-minimal,ca-certificates", "bookworm", root, MIRROR]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(root / "var/cache/apt/archives")
        (root / "complete").touch()
    write_layout(root, layout)
    storage.mkdir()
    with registry(storage, free_port()) as address:
        target = f"docker://{address}/debian:12"
        command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:12", target]
        subprocess.run(command, check=True)
    storage.rename(CACHE / "registry")
    shutil.rmtree(layout)


def write_layout(root: Path, layout: Path) -> None:
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        plain = Path(folder) / "layer.tar"
        with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(root, arcname=".", filter=lambda entry: None if entry.ischr() or entry.isblk() else entry)
        diff_id = digest(plain)
        packed = Path(folder) / "layer.tar.gz"
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        layer = store(blobs, packed)
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = {
        "architecture": arch,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
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
        "annotations": {"org.opencontainers.image.ref.name": "12"},
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
    import socket

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
        with subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL) as process:
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
