"""What calls about terminals take and return."""

from __future__ import annotations

from ._model import Model, Record
from ._results import reader


class PtySize(Record):
    """The size of a terminal.

    Attributes:
        rows: Lines, 1 to 1000.
        cols: Characters a line, 1 to 1000.
    """

    rows: int
    cols: int


class PtyResult(Record):
    """The end of a terminal.

    Attributes:
        exit_code: Exit code of its shell, 128 + n if signal n ended it; ``None`` if it runs on.
        error: Why it ended, where the exit code does not say all.
    """

    exit_code: int | None = None
    error: str | None = None


class PtySessionInfo(Model):
    """One terminal.

    Attributes:
        active: Its shell runs.
        cols: Characters a line.
        created_at: RFC 3339.
        cwd: Where its shell was started.
        envs: What was added to the environment.
        id: The id it was created with.
        lazy_start: Its shell is started when the first client connects.
        rows: Lines.
    """

    active: bool
    cols: int
    created_at: str
    cwd: str
    envs: dict[str, str]
    id: str
    lazy_start: bool
    rows: int


info = reader(PtySessionInfo)
