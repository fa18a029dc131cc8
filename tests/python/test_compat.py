"""The official package's names for ours."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Iterator

import pytest

import daytona_native

COMPAT = pathlib.Path(__file__).parents[2] / "bindings-python/compat"
MODULES = [
    ".".join(path.relative_to(COMPAT).with_suffix("").parts)
    for path in COMPAT.rglob("*.py")
    if path.name != "__init__.py"
]


@pytest.fixture(autouse=True)
def _on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(COMPAT)
    yield


def test_the_package() -> None:
    daytona = importlib.import_module("daytona")
    assert daytona.Daytona is daytona_native.Daytona
    assert set(daytona.__all__) == set(daytona_native.__all__)
    with pytest.raises(AttributeError, match="NoSuchName"):
        daytona.NoSuchName  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_modules_hold_our_classes(name: str) -> None:
    module = importlib.import_module(name)
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    assert any(value.__module__.startswith("daytona_native") for value in classes)


def test_errors_are_chosen_as_officially() -> None:
    errors = importlib.import_module("daytona.common.errors")
    made = errors.create_daytona_error("gone", 404, None, "FILE_NOT_FOUND", "DAYTONA_DAEMON")
    assert type(made) is daytona_native.DaytonaFileNotFoundError
    assert errors.error_class_from_status_code(504) is daytona_native.DaytonaTimeoutError
    assert errors.error_class_from_status_code(None) is daytona_native.DaytonaError
