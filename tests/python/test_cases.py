"""The behaviour cases of tests/cases, with the sync and the async client."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cases"))
runner: Any = __import__("runner")

CASES = runner.load()


@pytest.fixture(scope="module")
def case_server() -> Iterator[Any]:
    server = runner.Server()
    yield server
    server.close()


@pytest.fixture(scope="module", params=["sync", "async"])
def session(request: pytest.FixtureRequest, case_server: Any) -> Iterator[Any]:
    session = runner.Session("daytona_native", request.param == "async", case_server)
    yield session
    session.close()


@pytest.mark.parametrize("case_id", CASES)
def test_case(session: Any, case_id: str) -> None:
    session.run(*CASES[case_id])
