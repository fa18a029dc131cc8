"""What a terminal backend is configured with, and what commands leave."""

from __future__ import annotations

from ._model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from . import _native


class TerminalImage(Model):
    """An image that has the tools of a language.

    Attributes:
        image: Its name.
        language: ``node``, ``python``, ``go`` or ``rust``.
    """

    image: str
    language: str


class TerminalConfig(Model):
    """The configuration in force.

    Attributes:
        image: Image of the sandboxes; ``None`` with a snapshot.
        snapshot: Snapshot in place of an image.
        cpu: Cores; ``None`` with a snapshot, as the sizes below.
        memory: GiB.
        disk: GiB.
        timeout: Seconds after which a command is killed; 0 is no limit.
        keep_alive: Whether one sandbox is kept for all commands.
        max_idle: Seconds without a command after which a kept sandbox is destroyed.
        create_timeout: Seconds until a new sandbox must have started.
        task_id: The task whose files stay.
        labels: Labels of the sandboxes.
        env: Environment of everything that runs in them.
    """

    image: str | None
    snapshot: str | None
    cpu: int | None
    memory: int | None
    disk: int | None
    timeout: float
    keep_alive: bool
    max_idle: float
    create_timeout: float
    task_id: str | None
    labels: dict[str, str]
    env: dict[str, str]


class TerminalResult(Model):
    """What a command left.

    Attributes:
        exit_code: 128 + n if signal n ended it.
        stdout: With U+FFFD for what is not UTF-8.
        stderr: The same of the standard error.
    """

    exit_code: int
    stdout: str
    stderr: str


def configured(config: str | Mapping[str, Any] | None, task_id: str | None) -> tuple[str, bool]:
    """Return the text of a configuration, and whether it is YAML."""
    from ._service import arguments

    if isinstance(config, str):
        if task_id is None:
            return config, True
        from ._errors import DaytonaInvalidArgumentError

        raise DaytonaInvalidArgumentError("task_id and YAML exclude each other: write terminal.daytona.task_id")
    from ._given import given_mapping

    values = given_mapping("config", config)
    if task_id is not None:
        terminal = given_mapping("config.terminal", values.get("terminal"))
        daytona = given_mapping("config.terminal.daytona", terminal.get("daytona"))
        terminal["daytona"] = {**daytona, "task_id": task_id}
        values["terminal"] = terminal
    return arguments(values), False


def in_force(native: _native.TerminalBackend) -> TerminalConfig:
    """Return the configuration of a backend."""
    from json import loads

    from ._service import snake

    return TerminalConfig(**snake(loads(native.config())))


def images() -> list[TerminalImage]:
    """Return the images that are made for terminals."""
    from . import _native

    return [TerminalImage(image=image, language=language) for image, language in _native.terminal_images()]
