"""The exceptions, and how the official package chooses among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daytona_native import _errors
from daytona_native._errors import *  # noqa: F403
from daytona_native._errors import SOURCE_API, SOURCE_DAEMON, SOURCE_PROXY, DaytonaError
from daytona_native._native import error_table

__all__ = [
    "CODE_TO_ERROR",
    "SOURCE_API",
    "SOURCE_DAEMON",
    "SOURCE_PROXY",
    "STATUS_CODE_TO_ERROR",
    "create_daytona_error",
    "error_class_from_status_code",
    *(name for name in dir(_errors) if name.startswith("Daytona")),
]

STATUS_CODE_TO_ERROR: dict[int, type[DaytonaError]] = {
    400: _errors.DaytonaBadRequestError,
    401: _errors.DaytonaAuthenticationError,
    403: _errors.DaytonaForbiddenError,
    404: _errors.DaytonaNotFoundError,
    408: _errors.DaytonaTimeoutError,
    409: _errors.DaytonaConflictError,
    410: _errors.DaytonaGoneError,
    422: _errors.DaytonaUnprocessableEntityError,
    429: _errors.DaytonaRateLimitError,
    500: _errors.DaytonaInternalServerError,
    502: _errors.DaytonaBadGatewayError,
    503: _errors.DaytonaServiceUnavailableError,
    504: _errors.DaytonaTimeoutError,
}
CODE_TO_ERROR: dict[tuple[str, str], type[DaytonaError]] = {
    (SOURCE_DAEMON, code): getattr(_errors, name) for name, _, code in error_table() if code
}


def error_class_from_status_code(status_code: int | None) -> type[DaytonaError]:
    """Return the class of a status."""
    return STATUS_CODE_TO_ERROR.get(status_code or 0, DaytonaError)


def create_daytona_error(
    message: str,
    status_code: int | None = None,
    headers: Mapping[str, Any] | None = None,
    code: str | None = None,
    source: str | None = None,
) -> DaytonaError:
    """Make the exception of an answer: its code decides, else its status."""
    by_code = CODE_TO_ERROR.get((source or "", code or ""))
    return (by_code or error_class_from_status_code(status_code))(message, status_code, headers, code, source)
