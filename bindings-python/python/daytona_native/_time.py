"""Times of the API."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime


def parse(text: str) -> datetime:
    """Read an RFC 3339 time, also with more than six digits of a second."""
    import re
    from datetime import datetime

    text = re.sub(r"\.(\d{1,6})\d*", lambda found: "." + found[1].ljust(6, "0"), text.replace("Z", "+00:00"))
    return datetime.fromisoformat(text)


def text(name: str, time: datetime | str | None) -> str | None:
    """Write a time for the API; as everywhere in Python, one without a zone is in local time."""
    if time is None or isinstance(time, str):
        return time
    if not hasattr(time, "astimezone"):
        from ._errors import DaytonaInvalidArgumentError

        raise DaytonaInvalidArgumentError(f"{name} must be a datetime, not {type(time).__name__}")
    return time.astimezone().isoformat()
