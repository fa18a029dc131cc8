#!/usr/bin/env python3
"""Stands in for `cargo rustc` of the bindings: gives what `make build` has compiled, in the profile it has that in."""

import os
import sys

words = sys.argv[1:]
environment = dict(os.environ)
if words[:1] == ["rustc"]:
    packages = ["-p", "daytona-native", "-p", "daytona-python", "-p", "daytona-node"]
    formats = words[words.index("--message-format") :][:2]
    words = ["build", "--release", "--locked", *packages, *formats]
    # What the build was not made with would make cargo compile again.
    environment = {name: value for name, value in environment.items() if not name.startswith("PYO3_")}
    environment["PYO3_BUILD_EXTENSION_MODULE"] = "1"
os.execvpe("cargo", ["cargo", *words], environment)
