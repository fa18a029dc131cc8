"""The `daytona-native` command: the program that the package brings along."""

from __future__ import annotations

import os
import pathlib
import sys
from typing import NoReturn

_BINARY = pathlib.Path(__file__).parent / "bin" / "daytona-native"


def main() -> NoReturn:
    """Become the program: its signals, exit code and terminal are its own."""
    try:
        os.execv(_BINARY, ["daytona-native", *sys.argv[1:]])  # noqa: S606
    except OSError as error:
        raise SystemExit(f"daytona-native: {_BINARY}: {error.strerror}. Install a wheel for this platform") from None
