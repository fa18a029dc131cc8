"""The exceptions: the core's table, their fields, and what a program does with them."""

from __future__ import annotations

import copy
import pickle

import pytest

import daytona_native
from conftest import Fake
from daytona_native import (
    Daytona,
    DaytonaAuthorizationError,
    DaytonaBadRequestError,
    DaytonaConfig,
    DaytonaConnectionError,
    DaytonaConnectionTimeoutError,
    DaytonaError,
    DaytonaForbiddenError,
    DaytonaInvalidArgumentError,
    DaytonaNotFoundError,
    DaytonaTimeoutError,
    DaytonaValidationError,
    Sandbox,
)
from daytona_native._native import error_table

TABLE = error_table()


@pytest.mark.parametrize(("name", "parent", "code"), TABLE)
def test_the_classes_are_those_of_the_core(name: str, parent: str, code: str | None) -> None:
    del code
    cls = getattr(daytona_native, name)
    if cls is DaytonaError:
        assert cls.__bases__ == (Exception,)
    else:
        assert cls.__bases__[0] is getattr(daytona_native, parent)


def test_no_class_is_missing_in_the_core() -> None:
    ours = {
        getattr(daytona_native, name)
        for name in daytona_native.__all__
        if name.startswith("Daytona") and name.endswith("Error")
    }
    assert ours == {getattr(daytona_native, name) for name, _, _ in TABLE}


def test_two_names_for_one_class() -> None:
    assert DaytonaValidationError is DaytonaBadRequestError
    assert DaytonaAuthorizationError is DaytonaForbiddenError
    assert issubclass(DaytonaConnectionTimeoutError, DaytonaTimeoutError)
    assert issubclass(DaytonaConnectionTimeoutError, DaytonaConnectionError)


def test_fields_of_an_answer(fake: Fake) -> None:
    with pytest.raises(DaytonaNotFoundError) as caught:
        Daytona(fake.config).get("missing")
    error = caught.value
    assert str(error) == error.message == "Failed to get sandbox: no such sandbox"
    assert (error.status_code, error.source, error.code) == (404, "DAYTONA_API", None)
    assert (error.request_id, error.operation, error.attempts) == ("request-1", "daytona.get", 1)
    assert error.headers["x-request-id"] == "request-1"
    with pytest.warns(DeprecationWarning, match="use code"):
        assert error.error_code is None


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
def test_errors_can_be_copied_and_pickled(fake: Fake, copied: object) -> None:
    with pytest.raises(DaytonaNotFoundError) as caught:
        Daytona(fake.config).get("missing")
    again = copied(caught.value)  # type: ignore[operator]
    assert type(again) is DaytonaNotFoundError
    assert vars(again) == vars(caught.value)
    assert str(again) == str(caught.value)


def test_made_by_a_program() -> None:
    error = DaytonaTimeoutError("late", 408, {"a": "b"}, "CODE", "DAYTONA_API")
    assert (error.message, error.status_code, error.code, error.source) == ("late", 408, "CODE", "DAYTONA_API")
    assert error.headers == {"a": "b"}
    assert error.sandbox_id is None


def test_a_refused_connection_names_the_cause_and_the_attempts() -> None:
    client = Daytona(DaytonaConfig(api_url="http://127.0.0.1:1/api", api_key="key"))
    with pytest.raises(DaytonaConnectionError, match=r"cannot connect to 127\.0\.0\.1:1") as caught:
        client.get("any")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.attempts == 3


def test_bad_input_is_refused_before_anything_is_sent(fake: Fake, fake_sandbox: Sandbox) -> None:
    sent = len(fake.requests)
    with pytest.raises(DaytonaInvalidArgumentError, match="blank"):
        fake_sandbox.process.exec(" ")
    with pytest.raises(DaytonaInvalidArgumentError, match="non-negative"):
        fake_sandbox.set_autostop_interval(-1)
    with pytest.raises(DaytonaInvalidArgumentError, match="timeout"):
        fake_sandbox.process.exec("true", timeout=-1)
    assert len(fake.requests) == sent
