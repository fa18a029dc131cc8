"""Administration, and any other operation of the API."""

from __future__ import annotations

from .._admin import (
    ApiKey,
    AuditLog,
    AuditLogs,
    CreatedApiKey,
    Organization,
    OrganizationUsage,
    Region,
    RegionUsage,
    Registry,
    RegistryParams,
    WebhookPortal,
    WebhookStatus,
)
from .._given import given, given_mapping, given_text_list
from .._service import fields, snake
from .service import AsyncService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any


class AsyncApi(AsyncService):
    """What a team administers, and requests of one's own.

    All methods raise ``DaytonaForbiddenError`` where the API key may not do that, ``DaytonaNotFoundError`` for what is
    not there, and ``DaytonaUnsupportedError`` where the server does not have it. ``request_timeout`` is the seconds to
    wait for the answer; 0 is no limit, ``None`` the client's.
    """

    _NAME = "api"

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | float | bool | Sequence[str] | None] | None = None,
        body: Any = None,
        request_timeout: float | None = None,
    ) -> Any:
        """Send any request to the API, with the client's credentials, retries, errors and time limit.

        Args:
            method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
            path: Beneath the API's URL, its parts escaped: ``/organizations/my%20org/users``.
            query: Parameters; one that is a list is sent once for each value, one that is ``None`` is not sent.
            body: What JSON can hold; ``None`` is no body.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Returns:
            The answer's JSON, its text where it is none, ``None`` where it is empty.

        Raises:
            DaytonaInvalidArgumentError: No such method, or a path that leaves the API; nothing was sent.
        """
        pairs = [
            [name, one if isinstance(one, str) else str(one).lower() if isinstance(one, bool) else str(one)]
            for name, value in given_mapping("query", query).items()
            if value is not None
            for one in (value if isinstance(value, (list, tuple)) else [value])
        ]
        return await self._call("request", request_timeout, method=method, path=path, query=pairs, body=body)

    async def list_api_keys(self, request_timeout: float | None = None) -> list[ApiKey]:
        """List the API keys of the user."""
        return [ApiKey(**snake(one)) for one in await self._call("list_api_keys", request_timeout)]

    async def current_api_key(self, request_timeout: float | None = None) -> ApiKey:
        """Return what is known of the API key that this client uses."""
        return ApiKey(**snake(await self._call("current_api_key", request_timeout)))

    async def get_api_key(self, name: str, request_timeout: float | None = None) -> ApiKey:
        """Find an API key by its name."""
        return ApiKey(**snake(await self._call("get_api_key", request_timeout, name=name)))

    async def create_api_key(
        self,
        name: str,
        permissions: Sequence[str],
        expires_at: datetime | None = None,
        request_timeout: float | None = None,
    ) -> CreatedApiKey:
        """Make an API key; its value is not shown again.

        Args:
            name: Its name, which no other key of the user has.
            permissions: What it may do: ``write:sandboxes``, ``read:volumes``, ...
            expires_at: When it stops working; never where ``None``.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.

        Raises:
            DaytonaConflictError: The name is taken.
        """
        from .._time import text

        wanted = given_text_list("permissions", permissions)
        params = {"name": name, "permissions": wanted, "expiresAt": text("expires_at", expires_at)}
        return CreatedApiKey(**snake(await self._call("create_api_key", request_timeout, params=params)))

    async def delete_api_key(self, name: str, request_timeout: float | None = None) -> None:
        """Delete an API key, which stops working at once."""
        await self._call("delete_api_key", request_timeout, name=name)

    async def list_organizations(self, request_timeout: float | None = None) -> list[Organization]:
        """List the organizations that the user is in."""
        return [Organization(**snake(one)) for one in await self._call("list_organizations", request_timeout)]

    async def get_organization(self, organization_id: str, request_timeout: float | None = None) -> Organization:
        """Find an organization by its id."""
        return Organization(**snake(await self._call("get_organization", request_timeout, id=organization_id)))

    async def organization_usage(self, organization_id: str, request_timeout: float | None = None) -> OrganizationUsage:
        """Return what an organization uses at present of what it may."""
        usage = snake(await self._call("organization_usage", request_timeout, id=organization_id))
        regions = [RegionUsage(**snake(one)) for one in usage["region_usage"]]
        return OrganizationUsage(**{**usage, "region_usage": regions})

    async def set_default_region(
        self, organization_id: str, region_id: str, request_timeout: float | None = None
    ) -> None:
        """Set the region of what is created without one."""
        await self._call("set_default_region", request_timeout, id=organization_id, regionId=region_id)

    async def list_regions(self, request_timeout: float | None = None) -> list[Region]:
        """List the regions that the organization may use."""
        return [Region(**snake(one)) for one in await self._call("list_regions", request_timeout)]

    async def get_region(self, region_id: str, request_timeout: float | None = None) -> Region:
        """Find a region by its id."""
        return Region(**snake(await self._call("get_region", request_timeout, id=region_id)))

    async def list_registries(self, request_timeout: float | None = None) -> list[Registry]:
        """List the registries of the organization."""
        return [Registry(**snake(one)) for one in await self._call("list_registries", request_timeout)]

    async def get_registry(self, registry_id: str, request_timeout: float | None = None) -> Registry:
        """Find a registry by its id."""
        return Registry(**snake(await self._call("get_registry", request_timeout, id=registry_id)))

    async def create_registry(
        self, params: RegistryParams | Mapping[str, Any], request_timeout: float | None = None
    ) -> Registry:
        """Add a registry; needs a password. A dict with the fields of the parameters does as well."""
        wanted = fields(given("params", params, RegistryParams))
        return Registry(**snake(await self._call("create_registry", request_timeout, params=wanted)))

    async def update_registry(
        self, registry_id: str, params: RegistryParams | Mapping[str, Any], request_timeout: float | None = None
    ) -> Registry:
        """Replace the settings of a registry; without a password the old one stays."""
        wanted = fields(given("params", params, RegistryParams))
        answer = await self._call("update_registry", request_timeout, id=registry_id, params=wanted)
        return Registry(**snake(answer))

    async def delete_registry(self, registry_id: str, request_timeout: float | None = None) -> None:
        """Remove a registry."""
        await self._call("delete_registry", request_timeout, id=registry_id)

    async def list_audit_logs(
        self,
        organization_id: str,
        page: int | None = None,
        limit: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        next_token: str | None = None,
        request_timeout: float | None = None,
    ) -> AuditLogs:
        """List one page of what was done in an organization.

        Args:
            organization_id: The organization.
            page: From 1.
            limit: Entries a page.
            start: Only from then on.
            end: Only until then.
            next_token: Of the page before.
            request_timeout: Seconds to wait for the answer; 0 is no limit, ``None`` the client's.
        """
        from .._time import text

        times = {"from": text("start", start), "to": text("end", end)}
        query = {"page": page, "limit": limit, "nextToken": next_token, **times}
        found = snake(await self._call("audit_logs", request_timeout, id=organization_id, query=query))
        return AuditLogs(**{**found, "items": [AuditLog(**snake(one)) for one in found["items"]]})

    async def webhook_status(self, organization_id: str, request_timeout: float | None = None) -> WebhookStatus:
        """Return whether webhooks are set up."""
        return WebhookStatus(**snake(await self._call("webhook_status", request_timeout, id=organization_id)))

    async def initialize_webhooks(self, organization_id: str, request_timeout: float | None = None) -> WebhookStatus:
        """Set webhooks up."""
        return WebhookStatus(**snake(await self._call("initialize_webhooks", request_timeout, id=organization_id)))

    async def webhook_portal(self, organization_id: str, request_timeout: float | None = None) -> WebhookPortal:
        """Return the page where webhooks are managed; it lets in who has it."""
        return WebhookPortal(**snake(await self._call("webhook_portal", request_timeout, id=organization_id)))

    async def refresh_webhooks(self, organization_id: str, request_timeout: float | None = None) -> None:
        """Have the server look again whether there are webhooks."""
        await self._call("refresh_webhooks", request_timeout, id=organization_id)
