# Run it: python examples/python/declarative_image.py
"""Says in Python what an image is to have, and makes a sandbox and a snapshot of it.

With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself, which pulls the base image
from its registry. Without a registry in reach, DAYTONA_NATIVE_IMAGE_FALLBACK=host in the environment lets this
machine's own programs stand in for the base image.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import uuid

from daytona_native import (
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    Daytona,
    DaytonaBuildFailedError,
    Image,
)

PROGRAM = """
import os, words
print(os.environ["GREETING"], "from", os.getcwd(), "with", words.count("words.txt"), "words")
"""


def project(folder: pathlib.Path) -> pathlib.Path:
    """Write a small project into a folder."""
    (folder / "main.py").write_text(PROGRAM)
    (folder / "words.py").write_text("def count(path):\n    return len(open(path).read().split())\n")
    (folder / "words.txt").write_text("all of these are words\n")
    (folder / "notes.log").write_text("not for the image\n")
    (folder / ".dockerignore").write_text("*.log\n")
    return folder


def main() -> None:
    """Run the steps."""
    name = f"words-{uuid.uuid4().hex[:8]}"
    daytona = Daytona() if os.environ.get("DAYTONA_API_KEY") else Daytona.local()
    with daytona, tempfile.TemporaryDirectory() as folder:
        image = (
            Image.base("python:3.12-slim-bookworm")
            .add_local_dir(project(pathlib.Path(folder)), "/app")
            .run_commands("cd /app && python3 -m compileall -q . && ls")
            .env({"GREETING": "hello"})
            .workdir("/app")
        )
        print(image.dockerfile().replace(folder[1:], "FOLDER"))
        try:
            # The log of the build, as it comes.
            sandbox = daytona.create(
                CreateSandboxFromImageParams(image=image), timeout=600, on_snapshot_create_logs=print
            )
        except DaytonaBuildFailedError as error:
            raise SystemExit(
                f"{error}\n\nTo go without the base image, set DAYTONA_NATIVE_IMAGE_FALLBACK=host"
            ) from None
        print(sandbox.process.exec("python3 main.py").result, end="")
        sandbox.delete()

        # Under a name it is kept; what has been built and uploaded is not built and uploaded again.
        snapshot = daytona.snapshot.create(CreateSnapshotParams(name=name, image=image))
        try:
            second = daytona.create(CreateSandboxFromSnapshotParams(snapshot=name))
            print("from the snapshot:", second.process.exec("python3 main.py").result, end="")
            second.delete()
        finally:
            daytona.snapshot.delete(snapshot)


if __name__ == "__main__":
    main()
