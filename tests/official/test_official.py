"""The official Python client, unmodified, sync and async, against the local server: it runs the behaviour cases.

deviations.json lists where it does otherwise than the cases say, and why. What is listed there without changed steps
has to fail: an entry that is no longer true fails the test.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "cases"))
runner: Any = __import__("runner")

CASES = runner.load(official=True)
DEVIATIONS = json.loads((HERE / "deviations.json").read_text("utf-8"))


def as_official(steps: list[Any]) -> dict[str, Any]:
    """What errors of the official clients look like.

    They have no request id, and check less before they send: the refusal has to be of the same class whoever refuses.
    """
    changed: dict[str, Any] = {}
    for number, step in enumerate(steps):
        error = step.get("error", {})
        if error.get("status") == {"$absent": True}:
            changed[str(number)] = {"error": {"class": error["class"]}}
        elif "request_id" in error:
            changed[str(number)] = {"error": {name: want for name, want in error.items() if name != "request_id"}}
    return changed


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    server = runner.Server()
    yield server
    server.close()


@pytest.fixture(scope="session", params=["python", "python async"])
def session(request: pytest.FixtureRequest, server: Any) -> Iterator[Any]:
    # An event that comes after the answer to a later question wins for a moment.
    session = runner.Session("daytona", request.param == "python async", server, late=5)
    yield session
    session.close()


def test_the_client_is_the_published_one() -> None:
    assert importlib.metadata.version("daytona") == "0.226.1"


def test_every_deviation_names_a_case() -> None:
    assert {case for client in DEVIATIONS.values() for case in client} <= set(CASES)


@pytest.mark.parametrize("case_id", CASES)
def test_case(session: Any, case_id: str) -> None:
    file, case = CASES[case_id]
    deviations = DEVIATIONS["python"] | (DEVIATIONS["python async"] if session.is_async else {})
    deviation = deviations.get(case_id)
    if deviation and "steps" not in deviation:
        with pytest.raises(AssertionError):
            session.run(file, case, as_official(case["steps"]))
        return
    session.run(file, case, as_official(case["steps"]) | (deviation["steps"] if deviation else {}))
