"""The builder of images against the official one: the same calls give the same Dockerfile and the same files.

Calls are generated from a fixed seed. Where the official builder raises, ours has to as well.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pathlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import upload

from daytona.common.image import Image as OfficialImage

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "bindings-python/python"))
sys.path.insert(0, str(HERE.parent / "cases"))
own: Any = importlib.import_module("daytona_native")
Image: Any = own.Image
runner: Any = importlib.import_module("runner")

SKIPPED = 77
ROUNDS = 400
WORDS = [
    *("a", "", "a b", "it's", 'say "x"', "$HOME", "back\\slash", "x>=1,<2", "ünï", "😀", "tab\there", "~", "*", "!"),
    *("C:\\x", "--flag=1", "'", "a;b", "{x}", "[y]", "#z", "a=b", "%s", "http://h/p?q=1&r=2", "new\nline", "\x7f"),
]
LINES = [
    *("RUN true", "COPY a.txt /x", "COPY a.txt b.txt /x/", "copy  dir /x", "COPY --chown=1:1 --link a.txt /x", ""),
    *("COPY *.txt /x/", 'COPY ["a b.txt", "/x"]', 'COPY ["a.txt",', "COPY 'a b.txt' /x", "COPY a\\ b.txt /x"),
    *(
        "COPY --from=0 a.txt /x",
        "COPY <<EOF /x\nhello\nEOF",
        "COPY a.txt \\\n  # note\n\n  b.txt \\\n /x",
        "# COPY no /x",
    ),
    *("COPY none.txt /x", "COPY d?r/* /x/", "COPY dir/ /x", "COPY ./dir/../a.txt /x", "COPY . /x", "COPY [ab].txt /x"),
    *(
        "COPY only",
        "COPY 'open /x",
        "COPYa b c",
        "  COPY\ta.txt\t/x",
        "COPY {a,b}.txt /x",
        "RUN echo \\",
        "COPY [1, 2]",
    ),
]
OUTSIDE = [
    "COPY ../x /x",
    "COPY /etc/hostname /x",
    "COPY dir/../../x /x",
    "COPY C:\\x /x",
    "COPY out/file /x",
    "COPY .. /x",
]


@pytest.fixture
def _folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    work = tmp_path / "work"
    for name in ("a.txt", "b.txt", "a b.txt", ".hidden.txt", "dir/inner.txt", "dir/.dot", "requirements.txt"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    (work / "out").symlink_to(tmp_path)
    (tmp_path / "file").write_text("outside")
    (work / "pyproject.toml").write_text(
        '[project]\ndependencies = ["x>=1", "y[z]"]\n'
        "optional-dependencies = {dev = ['w'], doc = ['v; python_version<4']}\n"
    )
    (work / "bad.toml").write_text("[project]\nname = 'x'\n")
    (work / "Dockerfile").write_text("FROM x\r\nCOPY a.txt /x\r\nCOPY dir /y\n")
    (work / "dir/Dockerfile").write_text("FROM x\nCOPY inner.txt /x\n")
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(work / "dir"))
    yield


def some(chance: random.Random, pool: list[str], most: int) -> list[str]:
    return [chance.choice(pool) for _ in range(chance.randint(0, most))]


def pip(chance: random.Random) -> dict[str, Any]:
    options: dict[str, Any] = {
        "find_links": some(chance, WORDS, 2) or None,
        "index_url": chance.choice([None, *WORDS]),
        "extra_index_urls": some(chance, WORDS, 2) or None,
        "pre": chance.choice([True, False]),
        "extra_options": chance.choice(["", " --no-cache-dir ", "-q -q"]),
    }
    return {name: value for name, value in options.items() if chance.random() < 0.4}


def a_step(chance: random.Random) -> tuple[str, list[Any], dict[str, Any]]:
    path = chance.choice(
        ["a.txt", "./a.txt", "dir/../a.txt", "~/inner.txt", "none", "dir", pathlib.Path("dir/inner.txt")]
    )
    folder = chance.choice(["dir", "./dir/", "dir/../dir", "~", ".", "none", "a.txt", os.path.abspath("dir")])
    steps: list[Callable[[], tuple[str, list[Any], dict[str, Any]]]] = [
        lambda: ("pip_install", [*some(chance, WORDS, 4), some(chance, WORDS, 2)], pip(chance)),
        lambda: (
            "pip_install_from_requirements",
            [chance.choice(["requirements.txt", "./dir/../requirements.txt", "dir", "no"])],
            pip(chance),
        ),
        lambda: (
            "pip_install_from_pyproject",
            [chance.choice(["pyproject.toml", "bad.toml", "no"]), chance.choice([[], ["dev"], ["dev", "doc", "none"]])],
            {"pre": True} if chance.random() < 0.2 else {},
        ),
        lambda: ("add_local_file", [path, chance.choice(["/x", "/y/", '/ü "q"'])], {}),
        lambda: ("add_local_dir", [folder, chance.choice(["/x", "/y/"])], {}),
        lambda: ("run_commands", [chance.choice([*WORDS, some(chance, WORDS, 3)]) for _ in range(3)], {}),
        lambda: ("env", [{f"K{number}": chance.choice(WORDS) for number in range(3)}], {}),
        lambda: ("workdir", [chance.choice([*WORDS, pathlib.Path("/w x")])], {}),
        lambda: (chance.choice(["entrypoint", "cmd"]), [some(chance, WORDS, 3)], {}),
        lambda: ("dockerfile_commands", [some(chance, LINES, 4)], {}),
        lambda: (
            "dockerfile_commands",
            [some(chance, [*LINES, *OUTSIDE], 3), chance.choice([".", "./", os.getcwd(), "none", "a.txt", "~/.."])],
            {"strict_context": chance.choice([True, False])},
        ),
    ]
    return chance.choice(steps)()


def outcome(image: Any, step: tuple[str, list[Any], dict[str, Any]]) -> str:
    """Take a step; what it raised, if it did."""
    name, args, kwargs = step
    try:
        getattr(image, name)(*args, **kwargs)
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return next((kind for kind in ("DaytonaNotFoundError", "DaytonaBadRequestError") if kind in kinds), repr(error))
    return ""


def copied(image: Any) -> list[tuple[str, str]]:
    """The local files, and their names in the build as its root sees them."""

    def rooted(path: str) -> str:
        return os.path.normpath("/" + path).lstrip("/")

    return sorted((os.path.normpath(one.source_path), rooted(one.archive_path)) for one in image._context_list)


@pytest.mark.usefixtures("_folder")
def test_the_same_calls_give_the_same_dockerfile() -> None:
    chance = random.Random(5)
    taken: set[str] = set()
    for number in range(ROUNDS):
        official, own = OfficialImage.base("x"), Image.base("x")
        steps = []
        for _ in range(chance.randint(1, 5)):
            step = a_step(chance)
            steps.append(step)
            expected = outcome(official, step)
            assert outcome(own, step) == expected, (number, step)
            if expected:
                # What a step that failed half way has left of itself differs.
                break
            taken.add(step[0])
            assert own.dockerfile() == official.dockerfile(), (number, steps)
            assert copied(own) == copied(official), (number, steps)
    assert len(taken) == 11


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize(
    "version", [None, "3.9", "3.10", "3.11", "3.12", "3.13", "3.12.1", "3.13.0rc1", "3.8", "2", "3.x"]
)
def test_slim_images(version: Any) -> None:
    try:
        expected = OfficialImage.debian_slim(version).dockerfile()
    except Exception:
        with pytest.raises(Exception, match="Python"):
            Image.debian_slim(version)
        return
    assert Image.debian_slim(version).dockerfile() == expected


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("path", ["Dockerfile", "./Dockerfile", "dir/Dockerfile", "~/Dockerfile", "none", "dir"])
@pytest.mark.parametrize("strict", [True, False])
def test_dockerfiles(path: str, strict: bool) -> None:
    try:
        official = OfficialImage.from_dockerfile(path, strict_context=strict)
    except Exception as error:
        with pytest.raises(Exception, match="Dockerfile") as raised:
            Image.from_dockerfile(path, strict_context=strict)
        assert type(raised.value).__mro__[-3].__name__ == type(error).__mro__[-3].__name__
        return
    own = Image.from_dockerfile(path, strict_context=strict)
    assert own.dockerfile() == official.dockerfile()
    assert copied(own) == copied(official)


def officially(server: Any, file: pathlib.Path, *, tls: bool) -> subprocess.CompletedProcess[str]:
    """What the official client makes of a local file."""
    command = [sys.executable, str(HERE / "upload.py"), server.url, server.api_key, str(file)]
    behind_tls = [sys.executable, str(HERE.parent / "images/behind_tls.py"), server.url] if tls else []
    return subprocess.run([*behind_tls, *command], capture_output=True, text=True, timeout=100)


def test_either_client_uploads_what_the_other_finds(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTONA_NATIVE_IMAGE_FALLBACK", "host")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    # More than one part.
    for file in (theirs, ours):
        file.write_bytes(random.Random(file.name).randbytes(6 << 20))
    server = runner.Server()
    try:
        if "isolation" not in server.holds:
            pytest.skip("sandboxes have no file system of their own")
        refused = officially(server, theirs, tls=False)
        assert refused.returncode != 0 and "BadScheme" in refused.stderr, "it uploads over TLS only"

        def of_theirs(file: pathlib.Path) -> Any:
            done = officially(server, file, tls=True)
            if done.returncode == SKIPPED:
                pytest.skip(done.stderr)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        def of_ours(file: pathlib.Path) -> Any:
            return upload.made("daytona_native", server.url, server.api_key, str(file))

        first = [of_theirs(theirs), of_ours(ours)]
        second = [of_ours(theirs), of_theirs(ours)]
        assert first == second
        assert [made["md5"] for made in first] == [md5(theirs), md5(ours)]
    finally:
        server.close()


def md5(path: pathlib.Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
