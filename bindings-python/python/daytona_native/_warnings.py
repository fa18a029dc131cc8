"""Warnings that point at the program's own line."""

from __future__ import annotations

import sys
from warnings import warn as _warn


def warn(message: str, category: type[Warning]) -> None:
    """Warn of the first caller outside this package."""
    level = 1
    frame = sys._getframe()
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
        level += 1
    _warn(message, category, stacklevel=level)
