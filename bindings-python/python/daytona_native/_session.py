"""What session calls take and return."""

from __future__ import annotations

from ._model import Model, Record
from ._results import reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SessionExecuteRequest(Model):
    """A command for a session.

    Attributes:
        command: One or more lines for the session's shell; not blank.
        run_async: Return at once with the command's id instead of at its end.
        var_async: Deprecated: use ``run_async``.
        suppress_input_echo: Keep what is sent to its stdin out of its log.
    """

    command: str
    run_async: bool | None = None
    var_async: bool | None = None
    suppress_input_echo: bool | None = None

    _known_by = ("command", "run_async")

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            super().__init__(**values)
            if self.var_async:
                from ._warnings import warn

                warn("var_async is deprecated; use run_async", DeprecationWarning)
                if not self.run_async:
                    self.run_async, self.var_async = self.var_async, None

    @classmethod
    def _alias(cls, name: str) -> str:
        return "async" if name == "var_async" else super()._alias(name)


class SessionExecuteResponse(Model):
    """A command that was given to a session.

    Attributes:
        cmd_id: The command's id.
        exit_code: Its exit code; ``None`` if it runs on.
        output: stdout and stderr, merged; ``None`` if it runs on.
        stderr: Its stderr; empty if it runs on.
        stdout: Its stdout; empty if it runs on.
    """

    cmd_id: str
    exit_code: int | None = None
    output: str | None = None
    stderr: str | None = None
    stdout: str | None = None


class SessionCommandLogsResponse(Record):
    """What a command has written so far.

    Attributes:
        output: stdout and stderr, merged.
        stdout: Its stdout.
        stderr: Its stderr.
    """

    output: str | None = None
    stdout: str | None = None
    stderr: str | None = None


class Command(Model):
    """One command of a session.

    Attributes:
        command: As it was given.
        exit_code: ``None`` while it runs.
        id: Chosen by the server.
    """

    command: str
    exit_code: int | None = None
    id: str


class Session(Model):
    """One session.

    Attributes:
        commands: Its commands, oldest first.
        session_id: The id it was created with.
    """

    commands: list[Command]
    session_id: str


execute_response = reader(SessionExecuteResponse)
logs = reader(SessionCommandLogsResponse)
command = reader(Command)


def session(values: tuple[list[tuple[Any, ...]], str]) -> Session:
    """Make a session of its commands and its id."""
    commands, session_id = values
    return Session._of(commands=[command(one) for one in commands], session_id=session_id)
