"""A terminal for agents: commands that run in sandboxes, which come and go by themselves."""

from __future__ import annotations

from .. import _native
from .._given import given_texts, refuse
from .._terminal_backend import TerminalConfig, TerminalImage, TerminalResult, configured, images, in_force
from .daytona import _ASYNCHRONOUS, _SERVER_BINARY
from .exec_stream import AsyncExecStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from .daytona import AsyncDaytona


class AsyncTerminalBackend:
    """Runs commands in sandboxes that it makes and destroys.

    Without ``keep_alive`` each command has a sandbox of its own, which is deleted before its end is told, however it
    ends. With ``keep_alive`` one sandbox is kept until ``max_idle`` seconds have passed without a command. With
    ``task_id`` the files stay: the same id finds its sandbox again, in any process. When the process goes without a
    word, the server destroys what it left.

    Args:
        config: ``{"terminal": {"backend": "daytona", "daytona": {...}}}``, or the same as YAML; the defaults where
            ``None``. Keys of ``daytona``: ``image`` (``ubuntu:24.04``) or ``snapshot``, ``cpu`` (4), ``memory``
            (``"8gb"``), ``disk`` (``"20gb"``), ``timeout`` (3600), ``keep_alive`` (false), ``max_idle`` (600),
            ``create_timeout`` (300), ``task_id``, ``labels``, ``env``.
        daytona: The client whose server is used; what ``Daytona()`` finds where ``None``.
        task_id: The same as the key; not with YAML.

    Raises:
        DaytonaInvalidArgumentError: A key that is not known, or a value that cannot be.
        DaytonaAuthenticationError: ``Daytona API key not set``.
    """

    def __init__(
        self,
        config: str | Mapping[str, Any] | None = None,
        *,
        daytona: AsyncDaytona | None = None,
        task_id: str | None = None,
    ) -> None:
        text, is_yaml = configured(config, task_id)
        client = None
        if daytona is not None:
            from .daytona import AsyncDaytona

            if not isinstance(daytona, AsyncDaytona):
                refuse(f"daytona must be an {AsyncDaytona.__name__}, not {type(daytona).__name__}")
            client = daytona._client()
        self._native = _native.TerminalBackend(_ASYNCHRONOUS, text, is_yaml, client, _SERVER_BINARY)

    @staticmethod
    def images() -> list[TerminalImage]:
        """List images that have the tools of a language."""
        return images()

    @property
    def config(self) -> TerminalConfig:
        """The configuration in force."""
        return in_force(self._native)

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> AsyncExecStream:
        """Start a line in the shell of a sandbox; its output comes while it runs.

        Args:
            command: The line.
            cwd: Working directory; the sandbox's own where ``None``.
            env: Added to the environment of the configuration.
            timeout: Seconds after which it is killed; 0 is no limit, ``None`` the configuration's.

        Returns:
            The command. Closing it, or losing the last reference to it, kills it.

        Raises:
            DaytonaInvalidArgumentError: A blank command or a bad name in ``env``; nothing was made.
            DaytonaError: ``Workspace creation failed``, with the reason and what to do.
        """
        return AsyncExecStream(await self._native.exec(command, cwd, given_texts("env", env), timeout))

    async def run(
        self,
        command: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: str | bytes | None = None,
    ) -> TerminalResult:
        """Run a line to its end. A call that is interrupted or cancelled kills it.

        Args:
            command: The line.
            cwd: Working directory; the sandbox's own where ``None``.
            env: Added to the environment of the configuration.
            timeout: Seconds after which it is killed; 0 is no limit, ``None`` the configuration's.
            stdin: What it reads, text as UTF-8; empty where ``None``.

        Raises:
            DaytonaProcessExecutionTimeoutError: It ran over its time limit.
            DaytonaSandboxDiedError: The sandbox ended meanwhile.
            DaytonaError: As ``exec``.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        exit_code, stdout, stderr = await self._native.run(command, cwd, given_texts("env", env), timeout, data)
        return TerminalResult(exit_code=exit_code, stdout=stdout, stderr=stderr)

    async def close(self, timeout: float | None = None) -> None:
        """Destroy the sandboxes of this process, with what runs in them, and wait until that is done.

        The sandbox of a task stays. A later command makes a new one. A call that is called off ends the waiting, and
        not what it waits for.

        Args:
            timeout: Seconds it may take; 60 where ``None``, 0 is no limit.

        Raises:
            DaytonaTimeoutError: It took longer; the server's timers destroy what is left.
        """
        await self._native.close(timeout)

    async def destroy(self, timeout: float | None = None) -> None:
        """Do the same, with the sandbox of the task and its files.

        Args:
            timeout: As ``close``.

        Raises:
            DaytonaTimeoutError: As ``close``.
        """
        await self._native.destroy(timeout)

    async def __aenter__(self) -> Self:
        """Return the backend."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close it."""
        await self.close()
