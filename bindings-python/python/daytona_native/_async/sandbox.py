"""One sandbox."""

from __future__ import annotations

from .. import _access
from .._given import some_texts
from .._sandbox_data import SandboxData
from .files import AsyncFileSystem
from .lifecycle import AsyncLifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .. import _native
    from .._access import PortPreviewUrl, SignedPortPreviewUrl, SshAccessDto, SshAccessValidationDto
    from .._lsp import LspLanguageId
    from .._metrics import SandboxMetrics
    from .git import AsyncGit
    from .interpreter import AsyncCodeInterpreter
    from .lsp import AsyncLspServer
    from .process import AsyncProcess


class AsyncSandbox(SandboxData, AsyncLifecycle):
    """A sandbox: its data, its life, and the ways into it."""

    def __init__(self, native: _native.Sandbox) -> None:
        super().__init__(native)
        self._fs: AsyncFileSystem | None = None
        self._process: AsyncProcess | None = None
        self._code_interpreter: AsyncCodeInterpreter | None = None
        self._git: AsyncGit | None = None

    @property
    def fs(self) -> AsyncFileSystem:
        """Its files."""
        if self._fs is None:
            self._fs = AsyncFileSystem(self._native.fs())
        return self._fs

    @property
    def process(self) -> AsyncProcess:
        """Its processes."""
        if self._process is None:
            from .process import AsyncProcess

            self._process = AsyncProcess(self._native.process())
        return self._process

    @property
    def code_interpreter(self) -> AsyncCodeInterpreter:
        """Its interpreter of Python code."""
        if self._code_interpreter is None:
            from .interpreter import AsyncCodeInterpreter

            self._code_interpreter = AsyncCodeInterpreter(self._native.code_interpreter())
        return self._code_interpreter

    @property
    def git(self) -> AsyncGit:
        """Its git repositories."""
        if self._git is None:
            from .git import AsyncGit

            self._git = AsyncGit(self._native.git())
        return self._git

    def create_lsp_server(self, language_id: LspLanguageId | str, path_to_project: str) -> AsyncLspServer:
        """Make a handle of the language server of a project; nothing runs before it is started.

        Args:
            language_id: ``python``, ``typescript`` or ``javascript``.
            path_to_project: The project's folder; a relative path starts from the work directory.

        Raises:
            DaytonaInvalidArgumentError: Another language.
        """
        from .lsp import AsyncLspServer

        return AsyncLspServer(self._native.lsp_server(str(language_id), path_to_project))

    async def refresh_data(self, request_timeout: float | None = None) -> None:
        """Ask the server for its data.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: It is gone.
        """
        await self._native.refresh_data(request_timeout)

    async def start(self, timeout: float = 60) -> None:
        """Start it and wait until it has started.

        Args:
            timeout: Seconds for all of that; 0 is no limit.

        Raises:
            DaytonaTimeoutError: It took longer.
            DaytonaError: It failed, with the reason.
        """
        await self._native.start(timeout)

    async def stop(self, timeout: float = 60, force: bool = False) -> None:
        """Stop it and wait until it has stopped; all that runs in it ends.

        Args:
            timeout: Seconds for all of that; 0 is no limit.
            force: Kill what runs in it at once.

        Raises:
            DaytonaTimeoutError: It took longer.
            DaytonaError: It failed, with the reason.
        """
        await self._native.stop(timeout, force)

    async def delete(self, timeout: float = 60, wait: bool = False) -> None:
        """Delete it and all in it.

        Args:
            timeout: Seconds for all of that; 0 is no limit.
            wait: Wait until it is destroyed.

        Raises:
            DaytonaTimeoutError: It took longer.
            DaytonaNotFoundError: It is gone.
        """
        await self._native.delete(timeout, wait)

    async def wait_for_sandbox_start(self, timeout: float = 60) -> None:
        """Wait until it has started.

        Args:
            timeout: Seconds; 0 is no limit.

        Raises:
            DaytonaTimeoutError: It took longer.
            DaytonaError: It failed, with the reason.
        """
        await self._native.wait_until_started(timeout)

    async def wait_for_sandbox_stop(self, timeout: float = 60) -> None:
        """Wait until it has stopped or is destroyed.

        Args:
            timeout: Seconds; 0 is no limit.

        Raises:
            DaytonaTimeoutError: It took longer.
            DaytonaError: It failed, with the reason.
        """
        await self._native.wait_until_stopped(timeout)

    async def set_labels(self, labels: Mapping[str, str], request_timeout: float | None = None) -> dict[str, str]:
        """Replace all labels.

        Args:
            labels: The new ones.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The labels in force.
        """
        in_force: dict[str, str] = await self._native.set_labels(some_texts("labels", labels), request_timeout)
        return in_force

    async def set_autostop_interval(self, interval: int, request_timeout: float | None = None) -> None:
        """Set after how long without use it stops.

        Args:
            interval: Minutes, from 0; 0 is never.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A negative interval; nothing was sent.
        """
        await self._native.set_autostop_interval(interval, request_timeout)

    async def set_auto_pause_interval(self, interval: int) -> None:
        """Set after how long without use it pauses.

        Args:
            interval: Minutes, from 0; 0 is never.

        Raises:
            DaytonaInvalidArgumentError: A negative interval; nothing was sent.
        """
        await self._native.set_auto_pause_interval(interval)

    async def set_auto_archive_interval(self, interval: int, request_timeout: float | None = None) -> None:
        """Set how long after it stopped it is archived.

        Args:
            interval: Minutes, from 0; 0 is the maximum.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A negative interval; nothing was sent.
        """
        await self._native.set_auto_archive_interval(interval, request_timeout)

    async def set_auto_delete_interval(self, interval: int, request_timeout: float | None = None) -> None:
        """Set how long after it stopped it is deleted.

        Args:
            interval: Minutes; 0 is at once, negative is never.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        await self._native.set_auto_delete_interval(interval, request_timeout)

    async def set_ttl(self, ttl_minutes: int, request_timeout: float | None = None) -> None:
        """Set how long it lives at most.

        Args:
            ttl_minutes: Minutes from now; 0 is no limit.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A negative time; nothing was sent.
        """
        await self._native.set_ttl(ttl_minutes, request_timeout)

    async def set_public(self, public: bool, request_timeout: float | None = None) -> None:
        """Set whether previews need no token.

        Args:
            public: True if they need none.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        await self._native.set_public(public, request_timeout)

    async def update_network_settings(
        self,
        *,
        network_block_all: bool | None = None,
        network_allow_list: str | None = None,
        domain_allow_list: str | None = None,
        request_timeout: float | None = None,
    ) -> None:
        """Change what it may reach; connections that are no longer allowed end. At least one has to be given.

        Args:
            network_block_all: True for no network at all, False for all of it: without a list beside it, the lists
                are dropped.
            network_allow_list: Comma separated IPv4 networks it may reach (``192.0.2.0/24``), at most 10; empty for no
                such limit. Ends a block.
            domain_allow_list: Comma separated domains it may reach (``example.com,*.example.org``); empty for no such
                limit. Ends a block.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: None is given; nothing was sent.
            DaytonaBadRequestError: A list has an entry that is no network or domain, or the server's runtime cannot
                limit a network.
        """
        await self._native.update_network_settings(
            network_block_all, network_allow_list, domain_allow_list, request_timeout
        )

    async def refresh_activity(self, request_timeout: float | None = None) -> None:
        """Tell the server that it is in use, so that it does not stop.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        await self._native.refresh_activity(request_timeout)

    async def update_env(
        self, env: Mapping[str, str], *, unset: list[str] | None = None, request_timeout: float | None = None
    ) -> None:
        """Change the environment of what starts from now on: commands, sessions, terminals and interpreters.

        What runs keeps what it has. The local server keeps the change when the sandbox is stopped.

        Args:
            env: Variables to set.
            unset: Variables to remove before that.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: What is no name of a variable; nothing was sent.
        """
        await self._native.update_env(some_texts("env", env), [] if unset is None else unset, request_timeout)

    async def update_secrets(self, secrets: Mapping[str, str], request_timeout: float | None = None) -> None:
        """Replace the secrets it holds. What starts from now on sees their placeholders.

        Args:
            secrets: Environment variable to name of the secret; empty takes all away.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaBadRequestError: There is no such secret.
        """
        await self._native.update_secrets(some_texts("secrets", secrets), request_timeout)

    async def get_metrics_latest(self, request_timeout: float | None = None) -> SandboxMetrics:
        """Tell what it uses at present.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        from json import loads

        from .._metrics import read

        return read(loads(await self._native.metrics_latest(request_timeout)))

    async def get_metrics(
        self, start: datetime | None = None, end: datetime | None = None, request_timeout: float | None = None
    ) -> list[SandboxMetrics]:
        """Tell what it used over time.

        Args:
            start: From when; since it was created where ``None``.
            end: Until when; until now where ``None``.
            request_timeout: Seconds to wait for each answer; 0 is no limit, ``None`` the client's.

        Returns:
            Samples, oldest first.
        """
        from json import loads

        from .._metrics import read
        from .._time import text

        found = await self._native.metrics(text("start", start), text("end", end), request_timeout)
        return [read(one) for one in loads(found)]

    async def get_user_home_dir(self) -> str:
        """Tell the home directory of its user."""
        directory: str = await self._native.user_home_dir()
        return directory

    async def get_user_root_dir(self) -> str:
        """Do as ``get_user_home_dir``, which is to be used instead."""
        from .._warnings import warn

        warn("get_user_root_dir is deprecated; use get_user_home_dir", DeprecationWarning)
        return await self.get_user_home_dir()

    async def get_work_dir(self) -> str:
        """Tell the directory that commands and relative paths start from."""
        directory: str = await self._native.work_dir()
        return directory

    async def download_url(self, path: str, ttl_seconds: int | None = None) -> str:
        """Make a URL to GET a file from, for whoever has it, without the API key.

        Args:
            path: Path in the sandbox.
            ttl_seconds: Seconds it is good for; 3600 where ``None``, no end where 0 or less.

        Returns:
            The URL.
        """
        url: str = await self._native.download_url(path, ttl_seconds)
        return url

    async def upload_url(self, path: str, ttl_seconds: int | None = None) -> str:
        """Make a URL to POST a file to, as the field ``file`` of a form, without the API key.

        Args:
            path: Path in the sandbox.
            ttl_seconds: Seconds it is good for; 3600 where ``None``, no end where 0 or less.

        Returns:
            The URL.
        """
        url: str = await self._native.upload_url(path, ttl_seconds)
        return url

    async def rotate_signing_key(self) -> None:
        """Make a new key: every URL signed so far stops working."""
        await self._native.rotate_signing_key()

    async def get_preview_link(self, port: int, request_timeout: float | None = None) -> PortPreviewUrl:
        """Tell where what listens on a port can be reached over HTTP.

        Args:
            port: From 1 to 65535.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The URL, and the token that a private sandbox wants with each request.

        Raises:
            DaytonaInvalidArgumentError: No port; nothing was sent.
        """
        return _access.preview(await self._native.get_preview_link(port, request_timeout))

    async def create_signed_preview_url(
        self, port: int, expires_in_seconds: int | None = None, request_timeout: float | None = None
    ) -> SignedPortPreviewUrl:
        """Make a URL that leads whoever has it to a port, without a token beside it.

        Args:
            port: From 1 to 65535.
            expires_in_seconds: From 1 to 86400; 60 where ``None``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: No port, or less than a second; nothing was sent.
            DaytonaValidationError: More than a day.
        """
        signed = await self._native.create_signed_preview_url(port, expires_in_seconds, request_timeout)
        return _access.signed_preview(signed)

    async def expire_signed_preview_url(self, port: int, token: str, request_timeout: float | None = None) -> None:
        """End a signed URL before its time.

        Args:
            port: The port it leads to.
            token: Its token.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: No port, or a blank token; nothing was sent.
            DaytonaNotFoundError: It has expired, or never was.
        """
        await self._native.expire_signed_preview_url(port, token, request_timeout)

    async def create_ssh_access(
        self, expires_in_minutes: int | None = None, request_timeout: float | None = None
    ) -> SshAccessDto:
        """Make a token that lets its holder in over SSH; the one made before lets nobody in any more.

        Args:
            expires_in_minutes: From 1; 60 where ``None``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: Less than a minute; nothing was sent.
        """
        return _access.ssh(await self._native.create_ssh_access(expires_in_minutes, request_timeout))

    async def revoke_ssh_access(self, token: str, request_timeout: float | None = None) -> None:
        """Take a token back, and end what its holder does.

        Args:
            token: The token.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A blank token; nothing was sent.
        """
        await self._native.revoke_ssh_access(token, request_timeout)

    async def validate_ssh_access(self, token: str, request_timeout: float | None = None) -> SshAccessValidationDto:
        """Tell whether a token lets its holder in, and into which sandbox.

        Args:
            token: The token.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A blank token; nothing was sent.
        """
        return _access.validation(await self._native.validate_ssh_access(token, request_timeout))
