"""What keeps the official client from keeping its tests for ever."""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
import threading

import pytest

LIMIT = 30.0  # seconds that its threads may keep the interpreter
STATUS = pytest.StashKey[int]()


def pytest_sessionstart() -> None:
    """The garbage collector runs between tests only.

    It closes terminals that the client has given up, on whatever thread it runs. Closing takes the lock of all thread
    pools; a thread that the collector interrupts while it starts another one for a pool holds that lock already.
    """
    gc.disable()
    gc.freeze()


def pytest_runtest_logfinish() -> None:
    gc.collect()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[STATUS] = int(exitstatus)


def leave(status: int) -> None:
    """Say where its threads are, and end without them: they do not decide how the tests ended."""
    faulthandler.dump_traceback(sys.__stderr__)
    os._exit(status)


def pytest_unconfigure(config: pytest.Config) -> None:
    end = threading.Timer(LIMIT, leave, [config.stash.get(STATUS, 1)])
    end.daemon = True
    end.start()
