"""What a sandbox can become besides started and stopped."""

from __future__ import annotations

from .._given import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from typing_extensions import Self

    from .._native import Sandbox as _NativeSandbox
    from .._params import Resources


class AsyncLifecycle:
    """The part of a sandbox that changes what it is."""

    _native: _NativeSandbox

    if TYPE_CHECKING:

        def __init__(self, native: _NativeSandbox) -> None: ...

    async def pause(self, timeout: float = 60) -> None:
        """Freeze everything that runs in it, and wait until it has; ``start`` lets it go on where it was.

        Memory is kept. Calls under way are answered when it goes on.

        Args:
            timeout: Seconds for all of that; 0 is no limit.

        Raises:
            DaytonaBadRequestError: It is not started.
            DaytonaUnsupportedError: Nothing can be frozen there.
            DaytonaTimeoutError: It took longer.
        """
        await self._native.pause(timeout)

    async def archive(self, request_timeout: float | None = None) -> None:
        """Pack it away, to save room; ``start`` brings it back. It has to be stopped.

        Returns when that has begun; ``state`` says whether it is done.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaBadRequestError: It is not stopped, or it is ephemeral.
        """
        await self._native.archive(request_timeout)

    async def recover(self, timeout: float = 60, *, accept_loss: bool = False) -> None:
        """Bring it back from an error that it can come back from, and wait until it has started.

        Args:
            timeout: Seconds for all of that; 0 is no limit.
            accept_loss: Begin again without the files that it has lost, as the refusal said. Servers of this project
                only.

        Raises:
            DaytonaBadRequestError: It is in no such error; ``recoverable`` tells.
            DaytonaConflictError: Its files are lost (code ``SANDBOX_FILES_LOST``), and ``accept_loss`` is not given.
            DaytonaTimeoutError: It took longer.
            DaytonaError: It failed, with the reason.
        """
        await self._native.recover(timeout, accept_loss)

    async def resize(self, resources: Resources | Mapping[str, Any], timeout: float = 60) -> None:
        """Give it more or fewer cores, memory or disk, and wait until it has them.

        While it runs it can get more cores and memory; a disk can grow while it is stopped.

        Args:
            resources: Cores and GiB, at least 1 each, as an object or as a dict with its fields; what is not given
                stays.
            timeout: Seconds for all of that; 0 is no limit.

        Raises:
            DaytonaInvalidArgumentError: Nothing given, a value below 1, or a GPU; nothing was sent.
            DaytonaBadRequestError: Its state forbids that.
            DaytonaUnsupportedError: The limit would not hold there.
            DaytonaTimeoutError: It took longer.
        """
        from .._params import Resources

        await self._native.resize(given("resources", resources, Resources), timeout)

    async def wait_for_resize_complete(self, timeout: float = 60) -> None:
        """Wait until it is no longer being resized.

        Args:
            timeout: Seconds; 0 is no limit.

        Raises:
            DaytonaTimeoutError: It took longer.
            DaytonaError: It failed, with the reason.
        """
        await self._native.wait_for_resize_complete(timeout)

    async def fork(self, name: str | None = None, timeout: float = 60) -> Self:
        """Make another sandbox with its files as they are now and its settings, and wait until that has started.

        Nothing that runs in it runs in the other one.

        Args:
            name: Unique name of the other one; one is made where ``None``.
            timeout: Seconds for all of that; 0 is no limit.

        Returns:
            The other sandbox.

        Raises:
            DaytonaBadRequestError: It is not started.
            DaytonaConflictError: The name is taken.
            DaytonaUnsupportedError: Nothing can be frozen there, for the copy to be whole.
            DaytonaTimeoutError: It took longer; ``sandbox_id`` names the other one if it was made.
        """
        return type(self)(await self._native.fork(name, timeout))

    async def _experimental_fork(self, name: str | None = None, timeout: float = 60) -> Self:
        """Do as ``fork``, which is to be used instead."""
        from .._warnings import warn

        warn("_experimental_fork is deprecated; use fork", DeprecationWarning)
        return await self.fork(name, timeout)

    async def create_snapshot(self, name: str, timeout: float = 60) -> None:
        """Make a snapshot of its files, to create sandboxes from, and wait until it is in its former state again.

        Args:
            name: Unique name of the snapshot.
            timeout: Seconds for all of that; 0 is no limit.

        Raises:
            DaytonaBadRequestError: It is neither started nor stopped.
            DaytonaConflictError: The name is taken.
            DaytonaTimeoutError: It took longer.
        """
        await self._native.create_snapshot(name, timeout)

    async def _experimental_create_snapshot(self, name: str, timeout: float = 60) -> None:
        """Do as ``create_snapshot``, which is to be used instead."""
        from .._warnings import warn

        warn("_experimental_create_snapshot is deprecated; use create_snapshot", DeprecationWarning)
        await self.create_snapshot(name, timeout)
