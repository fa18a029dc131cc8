# Run it: python examples/python/quickstart.py
"""Creates a sandbox, runs a command and a program in it, moves files, and deletes it.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daytona_native import CodeRunParams, CreateSandboxFromSnapshotParams, Daytona, FileUpload


@contextmanager
def step(title: str) -> Iterator[list[object]]:
    """Print how long a step took, and what it puts into the list."""
    seen: list[object] = []
    begin = time.perf_counter()
    yield seen
    took = (time.perf_counter() - begin) * 1000
    print(f"{took:8.1f} ms  {': '.join(str(part) for part in [title, *seen])}", flush=True)


def main() -> None:
    """Run the steps."""
    on_daytona = bool(os.environ.get("DAYTONA_API_KEY"))
    print("On Daytona" if on_daytona else "On a local server")
    with Daytona() if on_daytona else Daytona.local() as daytona:
        with step("create a sandbox") as seen:
            sandbox = daytona.create(
                CreateSandboxFromSnapshotParams(language="python", labels={"example": "quickstart"})
            )
            seen.append(f"{sandbox.id} ({sandbox.state.value if sandbox.state else 'unknown'})")
        try:
            with step("run a command") as seen:
                answer = sandbox.process.exec('echo "Hello from $(uname -s), $GREETED"', env={"GREETED": "Python"})
                seen.append(answer.result.strip())
            with step("run a Python program") as seen:
                program = "import sys\nprint(sum(int(n) for n in sys.argv[1:]))"
                seen.append(sandbox.process.code_run(program, CodeRunParams(argv=["20", "22"])).result.strip())
            with step("upload three files"):
                sandbox.fs.create_folder("notes", "755")
                names = ["one", "two", "three"]
                sandbox.fs.upload_files(
                    [FileUpload(f"This is note {name}.\n".encode(), f"notes/{name}.txt") for name in names]
                )
            with step("list them") as seen:
                files = sandbox.fs.list_files("notes")
                seen.append(", ".join(f"{file.name} ({file.size} bytes)" for file in files))
            with step("search in them") as seen:
                matches = sandbox.fs.find_files("notes", "two")
                seen.append(", ".join(f"{match.file}:{match.line}: {match.content}" for match in matches))
            with step("find them by name") as seen:
                seen.append(", ".join(sandbox.fs.search_files("notes", "t*.txt").files))
            with step("download into memory") as seen:
                seen.append(sandbox.fs.download_file("notes/one.txt").decode().strip())
            with tempfile.TemporaryDirectory() as folder, step("download to a local file") as seen:
                path = Path(folder, "three.txt")
                sandbox.fs.download_file("notes/three.txt", path)
                seen.append(path.read_text().strip())
        finally:
            with step("delete the sandbox"):
                sandbox.delete(wait=True)


if __name__ == "__main__":
    main()
