"""Makes a sandbox of an image with a local file: `upload.py URL KEY FILE`. Answers with JSON what became of it."""

from __future__ import annotations

import json
import sys

from daytona import CreateSandboxFromImageParams, Daytona, DaytonaConfig, Image


def main(url: str, key: str, file: str) -> None:
    daytona = Daytona(DaytonaConfig(api_url=url, api_key=key))
    image = Image.base("debian:12").add_local_file(file, "/copied")
    sandbox = daytona.create(CreateSandboxFromImageParams(image=image), timeout=60)
    assert sandbox.build_info is not None
    md5 = sandbox.process.exec("md5sum </copied").result.split()[0]
    sandbox.delete()
    print(json.dumps({"hashes": sandbox.build_info.context_hashes, "md5": md5}))


if __name__ == "__main__":
    main(*sys.argv[1:])
