"""What all Python suites share."""

from __future__ import annotations

import faulthandler

LIMIT = 60.0  # seconds that the interpreter may take to end


def pytest_unconfigure() -> None:
    """A thread that does not end keeps the interpreter no longer than this: then it is shown, and that is a failure."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)
