#!/usr/bin/env python3
"""Stands in for cargo where maturin builds the extension module: tells of the one that `make build` has built."""

import json
import os
import pathlib
import subprocess
import sys

words = sys.argv[1:]
if words[:1] != ["rustc"]:
    os.execvp("cargo", ["cargo", *words])

manifest = words[words.index("--manifest-path") + 1]
command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path", manifest]
metadata = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
package = next(package for package in metadata["packages"] if package["manifest_path"] == manifest)
target = next(target for target in package["targets"] if "cdylib" in target["crate_types"])
library = pathlib.Path(manifest).with_name("python") / "daytona_native/_native.abi3.so"
if not library.is_file():
    raise SystemExit(f"{library} is not there: run `make build`")
profile = {"opt_level": "0", "debuginfo": 0, "debug_assertions": False, "overflow_checks": False, "test": False}
artifact = {
    "reason": "compiler-artifact",
    "package_id": package["id"],
    "manifest_path": manifest,
    "target": target,
    "profile": profile,
    "features": [],
    "filenames": [str(library)],
    "executable": None,
    "fresh": True,
}
print(json.dumps(artifact))
print(json.dumps({"reason": "build-finished", "success": True}))
