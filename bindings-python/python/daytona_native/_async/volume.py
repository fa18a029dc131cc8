"""Volumes: storage that sandboxes share and that outlives them."""

from __future__ import annotations

from .._given import given_id
from .._service import snake
from .._volume import Volume
from .service import AsyncService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class AsyncVolumeService(AsyncService):
    """The volumes of the organization."""

    _NAME = "volume"

    async def list(self, request_timeout: float | None = None) -> list[Volume]:
        """List all volumes.

        Args:
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        return [Volume(**snake(one)) for one in await self._call("list", request_timeout)]

    async def get(self, name: str, create: bool = False, request_timeout: float | None = None) -> Volume:
        """Find a volume by its name.

        Args:
            name: Its name.
            create: Create it where there is none.
            request_timeout: Seconds to wait for each answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        return Volume(**snake(await self._call("get", request_timeout, name=name, create=create)))

    async def create(self, name: str, request_timeout: float | None = None) -> Volume:
        """Create a volume.

        Args:
            name: Its name, which no other volume has.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaConflictError: The name is taken.
        """
        return Volume(**snake(await self._call("create", request_timeout, name=name)))

    async def delete(self, volume: Volume | Mapping[str, Any], request_timeout: float | None = None) -> None:
        """Delete a volume and all in it.

        Args:
            volume: The volume.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaConflictError: A sandbox has it, perhaps a stopped one.
            DaytonaNotFoundError: It is gone.
        """
        volume_id = given_id("volume", volume, Volume, "get(name) finds it")
        await self._call("delete", request_timeout, id=volume_id)
