"""What the code interpreter takes and returns."""

from __future__ import annotations

from ._model import Model
from ._results import reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class InterpreterContext(Model):
    """A namespace that keeps its variables, imports and functions from one run to the next.

    Attributes:
        active: Its worker runs.
        created_at: RFC 3339.
        cwd: Where its code runs.
        id: Chosen by the server.
        language: ``python``.
    """

    active: bool
    created_at: str
    cwd: str
    id: str
    language: str


class OutputMessage(Model):
    """Output of a run, as it came.

    Attributes:
        output: Some text.
    """

    output: str


class ExecutionError(Model):
    """What the code raised.

    Attributes:
        name: Name of the exception's class.
        value: The exception as text.
        traceback: As Python prints it.
    """

    name: str
    value: str
    traceback: str = ""


class Result(Model):
    """The value of a run's last expression, or something that it displayed.

    Attributes:
        data: MIME type to content: text, base64 text for images, what JSON holds for
            ``application/json``. There is always ``text/plain``.
        is_main: The value of the last expression, not a display on the way.
    """

    data: dict[str, Any]
    is_main: bool = False

    @property
    def text(self) -> str | None:
        """The value as ``repr`` writes it."""
        return self.data.get("text/plain")

    @property
    def html(self) -> str | None:
        """The value as HTML, such as a table of data."""
        return self.data.get("text/html")

    @property
    def markdown(self) -> str | None:
        """The value as Markdown."""
        return self.data.get("text/markdown")

    @property
    def png(self) -> str | None:
        """The picture in base64."""
        return self.data.get("image/png")

    @property
    def jpeg(self) -> str | None:
        """The picture in base64."""
        return self.data.get("image/jpeg")

    @property
    def svg(self) -> str | None:
        """The picture as SVG."""
        return self.data.get("image/svg+xml")

    @property
    def json(self) -> Any:
        """The value as JSON knows it; ``None`` where it has no such form."""
        return self.data.get("application/json")


class ExecutionResult(Model):
    """What a run did.

    Attributes:
        stdout: Its stdout.
        stderr: Its stderr.
        error: What it raised; ``None`` if it ended normally.
        results: Its value and what it displayed; ``None`` unless ``results`` or ``on_result`` asked for it.
    """

    stdout: str = ""
    stderr: str = ""
    error: ExecutionError | None = None
    results: list[Result] | None = None


context = reader(InterpreterContext)


def result(data: str, is_main: bool) -> Result:
    """Make a result of its JSON text."""
    from json import loads

    return Result._of(data=loads(data), is_main=is_main)
