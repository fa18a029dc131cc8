"""What `pip install` puts there: the wheel, built and installed as users get it."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, Server, server_binary


def run(*words: str | pathlib.Path, **env: str) -> str:
    done = subprocess.run(words, env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def environment() -> pathlib.Path:
    folder = ROOT / "target/tests/install"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    maturin = pathlib.Path(sys.executable).with_name("maturin")
    cargo = str(ROOT / "tests/python/built_cargo.py")
    options = ["--release", "--locked", "--offline", "--compression-method", "stored", "--out"]
    run(maturin, "build", *options, folder, CARGO=cargo)
    (wheel,) = folder.glob("daytona_native-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    pip: list[str | pathlib.Path] = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        folder / "venv/bin/python",
    ]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel)
    return folder / "venv"


def test_the_program_is_on_path(environment: pathlib.Path, server: Server) -> None:
    path = f"{environment / 'bin'}:/usr/bin:/bin"
    version = run("sh", "-c", "daytona-native --version", PATH=path)
    assert version == run(server_binary(), "--version")
    address = {"DAYTONA_API_URL": server.url, "DAYTONA_API_KEY": server.api_key}
    line = "id=$(daytona-native create -q) && daytona-native exec $id --cmd 'exit 7'; code=$?; "
    line += "daytona-native delete $id >&2; exit $((code - 7))"
    run("sh", "-c", line, PATH=path, **address)


def test_the_package_is_whole(environment: pathlib.Path) -> None:
    code = """
import pathlib, daytona_native
from daytona_native import AsyncDaytona, Daytona
folder = pathlib.Path(daytona_native.__file__).parent
assert "install/venv" in str(folder), folder
assert (folder / "py.typed").is_file()
print(daytona_native.__version__)
"""
    printed = run(environment / "bin/python", "-I", "-c", code)
    assert run(server_binary(), "--version").split()[-1] == printed.strip()
