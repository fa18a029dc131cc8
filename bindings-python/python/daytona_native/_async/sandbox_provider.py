"""Sandboxes for an orchestrator: asked for by a specification, and named by handles that any process can use."""

from __future__ import annotations

from .. import _native
from .._given import given_mapping
from .._sandbox_provider import CapabilityProfile, CapacityRegion, PoolConfig, SandboxHandle, plain, region, snake
from .._service import arguments
from .daytona import _ASYNCHRONOUS, _SERVER_BINARY
from .session import AsyncLogStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class AsyncSandboxProvider:
    """Provisions sandboxes and terminates them.

    Args:
        pool: What all sandboxes have in common, with any of ``daytonaApiUrl`` (``https://app.daytona.io/api``),
            ``image`` (``ghcr.io/renseiai/donmai-worker:latest``), ``diskGB`` (20), ``user`` (``daytona``), ``command``
            (``["donmai", "agent", "run"]``), ``target`` and ``api`` (``auto``, ``sandbox`` or ``workspace``). Snake
            case is fine too. ``DAYTONA_API_URL`` beats the URL of the pool.
        api_key: API key; ``DAYTONA_API_KEY`` where ``None``.

    Raises:
        DaytonaInvalidArgumentError: A key that is not known, or a value that cannot be.
        DaytonaAuthenticationError: ``Daytona API key not set``.
    """

    def __init__(self, pool: Mapping[str, Any] | None = None, *, api_key: str | None = None) -> None:
        pool_text = arguments(given_mapping("pool", pool))
        self._native = _native.SandboxProvider(_ASYNCHRONOUS, pool_text, api_key, _SERVER_BINARY)

    @staticmethod
    def profile() -> CapabilityProfile:
        """Return what every server of this kind is taken to do; see ``capabilities``."""
        from json import loads

        return CapabilityProfile(**snake(loads(_native.provider_profile())))

    @property
    def pool(self) -> PoolConfig:
        """The pool in force."""
        from json import loads

        return PoolConfig(**snake(loads(self._native.pool())))

    async def _call(self, method: str, timeout: float | None = None, /, **values: Any) -> Any:
        from json import loads

        answer: str = await self._native.service(method, arguments(values), timeout)
        return loads(answer)

    async def provision(self, spec: Mapping[str, Any] | None = None, timeout: float = 300) -> SandboxHandle:
        """Make a sandbox, wait until it has started, and start its command.

        Args:
            spec: What it is to be like, with any of ``name``, ``image`` or ``snapshot``, ``user``, ``command``,
                ``env``, ``labels``, ``cpu``, ``memoryGB``, ``diskGB``, ``gpu``, ``timeoutSec``, ``target``
                and ``networkBlockAll``; what is not given is the pool's. It stops when it has been idle for
                ``timeoutSec``, rounded up to minutes; for 30 minutes where that is not given.
            timeout: Seconds it may take; 0 is no limit.

        Raises:
            DaytonaInvalidArgumentError: A key that is not known, or a value that cannot be; nothing was sent.
            DaytonaError: It could not be made; nothing is left of it.
        """
        from json import loads

        return SandboxHandle(
            **snake(loads(await self._native.provision(arguments(given_mapping("spec", spec)), timeout)))
        )

    async def status(self, handle: SandboxHandle | Mapping[str, Any], request_timeout: float | None = None) -> str:
        """Say where a sandbox is in its life.

        Args:
            handle: Its handle.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            ``provisioning``, ``running``, ``paused``, ``terminated`` (also if it is gone) or ``failed``. ``ready`` is
            known and never told by a Daytona server.
        """
        status: str = await self._call("status", request_timeout, handle=plain(handle))
        return status

    async def terminate(self, handle: SandboxHandle | Mapping[str, Any], force: bool = False) -> None:
        """Delete a sandbox; one that is gone already is fine.

        Args:
            handle: Its handle.
            force: Also while its state is changing.

        Raises:
            DaytonaConflictError: Its state is changing, and ``force`` is not given.
        """
        await self._call("terminate", None, handle=plain(handle), force=force)

    async def pause(self, handle: SandboxHandle | Mapping[str, Any], timeout: float = 60) -> None:
        """Let a sandbox stand still, with its memory.

        Args:
            handle: Its handle.
            timeout: Seconds it may take; 0 is no limit.

        Raises:
            DaytonaUnsupportedError: The server cannot do that.
        """
        await self._call("pause", timeout, handle=plain(handle))

    async def resume(self, handle: SandboxHandle | Mapping[str, Any], timeout: float = 60) -> None:
        """Let a paused or stopped sandbox go on.

        Args:
            handle: Its handle.
            timeout: Seconds it may take; 0 is no limit.

        Raises:
            DaytonaUnsupportedError: The server cannot do that.
        """
        await self._call("resume", timeout, handle=plain(handle))

    async def stream_logs(self, handle: SandboxHandle | Mapping[str, Any]) -> AsyncLogStream:
        """Follow what the command writes, from its beginning to its end.

        Args:
            handle: Its handle.

        Raises:
            DaytonaNotFoundError: There is no such sandbox.
            DaytonaUnsupportedError: The server cannot do that.
        """
        return AsyncLogStream(await self._native.stream_logs(arguments(plain(handle))))

    async def capacity(self, request_timeout: float | None = None) -> list[CapacityRegion]:
        """Say how much more the organization may use, region by region.

        Args:
            request_timeout: Seconds to wait for each answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaUnsupportedError: The server does not say, or not to this key.
        """
        return [region(one) for one in (await self._call("capacity", request_timeout))["regions"]]

    async def capabilities(self, request_timeout: float | None = None) -> CapabilityProfile:
        """Ask what the server at hand really can do; where it does not say, that is ``profile``.

        Args:
            request_timeout: Seconds to wait for each answer; 0 is no limit, ``None`` the client's.
        """
        return CapabilityProfile(**snake(await self._call("capabilities", request_timeout)))
