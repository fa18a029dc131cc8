"""Secrets: values that sandboxes use without seeing them."""

from __future__ import annotations

from .._given import given
from .._secret import CreateSecretParams, ListSecretsResponse, Secret, UpdateSecretParams
from .._service import fields, snake
from .service import AsyncService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class AsyncSecretService(AsyncService):
    """The secrets of the organization."""

    _NAME = "secret"

    async def list(
        self,
        cursor: str | None = None,
        limit: int | None = None,
        name: str | None = None,
        sort: str | None = None,
        order: str | None = None,
        request_timeout: float | None = None,
    ) -> ListSecretsResponse:
        """List one page of secrets.

        Args:
            cursor: ``next_cursor`` of the page before.
            limit: Secrets a page, 1 to 200; 100 where ``None``.
            name: A part of the name.
            sort: ``name``, ``createdAt`` (the default) or ``updatedAt``.
            order: ``asc`` or ``desc`` (the default).
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaInvalidArgumentError: A limit below 1; nothing was sent.
            DaytonaBadRequestError: A value that the server refuses.
        """
        query = {"cursor": cursor, "limit": limit, "name": name, "sort": sort, "order": order}
        page = await self._call("list", request_timeout, query=query)
        items = [Secret._read(snake(one)) for one in page["items"]]
        return ListSecretsResponse(items=items, total=page["total"], next_cursor=page["nextCursor"])

    async def get(self, secret_id: str, request_timeout: float | None = None) -> Secret:
        """Find a secret.

        Args:
            secret_id: Its id.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        return Secret._read(snake(await self._call("get", request_timeout, id=secret_id)))

    async def create(
        self, params: CreateSecretParams | Mapping[str, Any], request_timeout: float | None = None
    ) -> Secret:
        """Create a secret; its value cannot be read back.

        Args:
            params: Name, value and hosts, as an object or as a dict with its fields.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaConflictError: The name is taken.
            DaytonaBadRequestError: A name, value or host that the server refuses.
        """
        wanted = fields(given("params", params, CreateSecretParams))
        return Secret._read(snake(await self._call("create", request_timeout, params=wanted)))

    async def update(
        self, secret_id: str, params: UpdateSecretParams | Mapping[str, Any], request_timeout: float | None = None
    ) -> Secret:
        """Change a secret; what is not given stays.

        Args:
            secret_id: Its id.
            params: The changes, as an object or as a dict with its fields.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        wanted = fields(given("params", params, UpdateSecretParams))
        return Secret._read(snake(await self._call("update", request_timeout, id=secret_id, params=wanted)))

    async def delete(self, secret_id: str, request_timeout: float | None = None) -> None:
        """Delete a secret; its placeholder stands for nothing from then on.

        Args:
            secret_id: Its id.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaNotFoundError: There is none.
        """
        await self._call("delete", request_timeout, id=secret_id)
