"""Values of services, which travel as JSON."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._model import Model


def snake(values: dict[str, Any]) -> dict[str, Any]:
    """Give fields their Python names."""
    return {"".join("_" + one.lower() if one.isupper() else one for one in name): of for name, of in values.items()}


def fields(params: Model) -> dict[str, Any]:
    """Return the fields that are given, under the API's names."""
    return params.model_dump(mode="json", by_alias=True, exclude_none=True)


def arguments(values: dict[str, Any]) -> str:
    """Write arguments as JSON.

    Raises:
        DaytonaInvalidArgumentError: A value that JSON cannot hold.
    """
    from json import dumps

    try:
        return dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        from ._errors import DaytonaInvalidArgumentError

        raise DaytonaInvalidArgumentError(f"the arguments cannot be written as JSON: {error}") from None
