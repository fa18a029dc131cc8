"""What administration takes and returns."""

from __future__ import annotations

from ._model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ApiKey(Model):
    """What is known of an API key.

    Attributes:
        name: Its name.
        value: Its beginning and end.
        created_at: RFC 3339, as all times.
        permissions: What it may do: ``write:sandboxes``, ``read:volumes``, ...
        last_used_at: When it was last used.
        expires_at: When it stops working; ``None`` is never.
        user_id: Who made it.
    """

    name: str
    value: str
    created_at: str
    permissions: list[str]
    last_used_at: str | None = None
    expires_at: str | None = None
    user_id: str = ""


class CreatedApiKey(Model):
    """A new API key; the only time that its value is seen.

    Attributes:
        name: Its name.
        value: The key; not shown by ``repr``.
        created_at: RFC 3339.
        permissions: What it may do.
        expires_at: When it stops working; ``None`` is never.
    """

    name: str
    value: str
    created_at: str
    permissions: list[str]
    expires_at: str | None = None

    _secret = frozenset({"value"})


class Organization(Model):
    """An organization and its limits.

    Attributes:
        id: Unique.
        name: For people.
        created_by: The user who made it.
        personal: True if it is one user's own.
        created_at: RFC 3339, as all times.
        updated_at: When it was changed last.
        suspended: True if it may do nothing at present.
        suspended_at: Since when.
        suspension_reason: Why.
        suspended_until: Until when.
        suspension_cleanup_grace_period_hours: Hours until a suspended organization is cleaned up.
        max_cpu_per_sandbox: Cores.
        max_memory_per_sandbox: GiB.
        max_disk_per_sandbox: GiB.
        secret_quota: How many secrets it may have.
        max_secrets_per_sandbox: How many secrets a sandbox may hold.
        snapshot_deactivation_timeout_minutes: Minutes after which an unused snapshot is deactivated.
        sandbox_limited_network_egress: True if new sandboxes have a limited network.
        preview_warning_enabled: True if previews begin with a warning.
        sso_enabled: True if it may have identity providers of its own.
        default_region_id: The region of what is created without one.
        authenticated_rate_limit: Requests in its time.
        sandbox_create_rate_limit: Creations in their time.
        sandbox_lifecycle_rate_limit: Starts, stops and the like in their time.
        experimental_config: Settings that may change.
        otel_config: Where telemetry is sent.
        authenticated_rate_limit_ttl_seconds: Seconds that requests are counted for.
        sandbox_create_rate_limit_ttl_seconds: Seconds that creations are counted for.
        sandbox_lifecycle_rate_limit_ttl_seconds: Seconds that starts and stops are counted for.
    """

    id: str
    name: str
    created_by: str
    personal: bool
    created_at: str
    updated_at: str
    suspended: bool
    suspended_at: str | None = None
    suspension_reason: str | None = None
    suspended_until: str | None = None
    suspension_cleanup_grace_period_hours: float | None = None
    max_cpu_per_sandbox: float = 0
    max_memory_per_sandbox: float = 0
    max_disk_per_sandbox: float = 0
    secret_quota: float | None = None
    max_secrets_per_sandbox: float | None = None
    snapshot_deactivation_timeout_minutes: float | None = None
    sandbox_limited_network_egress: bool = False
    preview_warning_enabled: bool = False
    sso_enabled: bool = False
    default_region_id: str | None = None
    authenticated_rate_limit: float | None = None
    sandbox_create_rate_limit: float | None = None
    sandbox_lifecycle_rate_limit: float | None = None
    experimental_config: dict[str, Any] | None = None
    otel_config: dict[str, Any] | None = None
    authenticated_rate_limit_ttl_seconds: float | None = None
    sandbox_create_rate_limit_ttl_seconds: float | None = None
    sandbox_lifecycle_rate_limit_ttl_seconds: float | None = None


class RegionUsage(Model):
    """What an organization uses in one region of what it may.

    Attributes:
        region_id: The region.
        sandbox_class: ``container``, ``linux-vm`` or ``windows``.
        total_cpu_quota: Cores it may use.
        current_cpu_usage: Cores it uses.
        total_memory_quota: GiB it may use.
        current_memory_usage: GiB it uses.
        total_disk_quota: GiB it may use.
        current_disk_usage: GiB it uses.
        total_gpu_quota: GPUs it may use.
        current_gpu_usage: GPUs it uses.
        max_cpu_per_sandbox: Cores.
        max_memory_per_sandbox: GiB.
        max_disk_per_sandbox: GiB.
        max_disk_per_non_ephemeral_sandbox: GiB.
        max_cpu_per_gpu: Cores.
        max_memory_per_gpu: GiB.
        max_disk_per_gpu: GiB.
    """

    region_id: str
    sandbox_class: str
    total_cpu_quota: float
    current_cpu_usage: float
    total_memory_quota: float
    current_memory_usage: float
    total_disk_quota: float
    current_disk_usage: float
    total_gpu_quota: float
    current_gpu_usage: float
    max_cpu_per_sandbox: float | None = None
    max_memory_per_sandbox: float | None = None
    max_disk_per_sandbox: float | None = None
    max_disk_per_non_ephemeral_sandbox: float | None = None
    max_cpu_per_gpu: float | None = None
    max_memory_per_gpu: float | None = None
    max_disk_per_gpu: float | None = None


class OrganizationUsage(Model):
    """What an organization uses of what it may.

    Attributes:
        region_usage: Region by region.
        total_snapshot_quota: Snapshots it may have.
        current_snapshot_usage: Snapshots it has.
        total_volume_quota: Volumes it may have.
        current_volume_usage: Volumes it has.
    """

    region_usage: list[RegionUsage]
    total_snapshot_quota: float
    current_snapshot_usage: float
    total_volume_quota: float
    current_volume_usage: float


class Region(Model):
    """A region.

    Attributes:
        id: Unique.
        name: For people.
        organization_id: The organization it belongs to; ``None`` if it is shared.
        region_type: ``shared``, ``dedicated`` or ``custom``.
        created_at: RFC 3339.
        updated_at: RFC 3339.
        proxy_url: Where previews are.
        ssh_gateway_url: Where SSH is.
        snapshot_manager_url: Where snapshots are kept.
        otel_endpoint: Where telemetry is sent.
    """

    id: str
    name: str
    organization_id: str | None = None
    region_type: str
    created_at: str
    updated_at: str
    proxy_url: str | None = None
    ssh_gateway_url: str | None = None
    snapshot_manager_url: str | None = None
    otel_endpoint: str | None = None


class Registry(Model):
    """A registry of images.

    Attributes:
        id: Unique.
        name: For people.
        url: Its URL.
        username: Who logs in.
        project: The project in it.
        registry_type: ``internal``, ``organization``, ``transient`` or ``backup``.
        created_at: RFC 3339.
        updated_at: RFC 3339.
    """

    id: str
    name: str
    url: str
    username: str
    project: str
    registry_type: str
    created_at: str
    updated_at: str


class RegistryParams(Model):
    """The settings of a registry.

    Attributes:
        name: For people.
        url: Its URL.
        username: Who logs in.
        password: With what; not shown by ``repr``. Needed for a new one.
        project: The project in it.
    """

    name: str
    url: str
    username: str
    password: str | None = None
    project: str | None = None

    _secret = frozenset({"password"})


class AuditLog(Model):
    """Something that was done.

    Attributes:
        id: Unique.
        actor_id: Who did it.
        actor_email: Who did it.
        organization_id: In which organization.
        action: What was done.
        target_type: To what kind of thing.
        target_id: To which.
        status_code: The HTTP status of the answer.
        error_message: Why it failed.
        ip_address: From where.
        user_agent: With what.
        source: With what kind of client.
        metadata: What else is known.
        created_at: RFC 3339.
    """

    id: str
    actor_id: str
    actor_email: str
    organization_id: str | None = None
    action: str
    target_type: str | None = None
    target_id: str | None = None
    status_code: int | None = None
    error_message: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    source: str | None = None
    metadata: dict[str, Any] | None = None
    created_at: str


class AuditLogs(Model):
    """One page of what was done.

    Attributes:
        items: The entries of this page.
        total: Of all pages.
        page: This page, from 1.
        total_pages: Number of pages.
        next_token: For the next page; ``None`` on the last.
    """

    items: list[AuditLog]
    total: int
    page: int
    total_pages: int
    next_token: str | None = None


class WebhookStatus(Model):
    """Whether webhooks are set up.

    Attributes:
        organization_id: The organization.
        svix_application_id: What sends them; ``None`` before they are set up.
        last_error: Why the last attempt to set them up failed.
        retry_count: How many attempts were made.
        created_at: RFC 3339.
        updated_at: RFC 3339.
    """

    organization_id: str
    svix_application_id: str | None = None
    last_error: str | None = None
    retry_count: int
    created_at: str
    updated_at: str


class WebhookPortal(Model):
    """The page where webhooks are managed; it lets in who has it.

    Attributes:
        token: Lets its bearer in; not shown by ``repr``.
        url: The page; not shown by ``repr``.
    """

    token: str
    url: str

    _secret = frozenset({"token", "url"})
