"""Makes a sandbox of an image with a local file: `upload.py URL KEY FILE`. Answers with JSON what became of it."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def made(module: str, url: str, key: str, file: str) -> dict[str, Any]:
    """What a client makes of it: the hashes of what was uploaded, and that of the copy."""
    client: Any = importlib.import_module(module)
    daytona = client.Daytona(client.DaytonaConfig(api_url=url, api_key=key))
    image = client.Image.base("debian:12").add_local_file(file, "/copied")
    sandbox = daytona.create(client.CreateSandboxFromImageParams(image=image), timeout=60)
    md5 = sandbox.process.exec("md5sum </copied").result.split()[0]
    sandbox.delete()
    return {"hashes": sandbox.build_info.context_hashes, "md5": md5}


if __name__ == "__main__":
    print(json.dumps(made("daytona", *sys.argv[1:])))
