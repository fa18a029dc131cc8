#!/usr/bin/env python3
"""Stands in for `cargo rustc` of the bindings: gives what `make build` has compiled, in the profile it has that in."""

import os
import sys

words = sys.argv[1:]
if words[:1] == ["rustc"]:
    packages = ["-p", "daytona-native", "-p", "daytona-python", "-p", "daytona-node"]
    formats = [word for word in words if word.startswith("--message-format")]
    words = ["build", "--release", "--locked", *packages, *formats]
os.execvp("cargo", ["cargo", *words])
