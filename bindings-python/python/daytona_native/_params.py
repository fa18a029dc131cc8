"""What callers pass in: configuration, parameters of sandboxes, queries."""

from __future__ import annotations

from ._model import Model, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from datetime import datetime
    from typing import Any

    from ._enums import (
        CodeLanguage,
        GpuType,
        SandboxClass,
        SandboxListSortDirection,
        SandboxListSortField,
        SandboxState,
    )
    from ._image import Image


class DaytonaConfig(Model):
    """How to reach Daytona. What is ``None`` is looked up.

    First in the process environment, then in ``.env.local`` and ``.env`` of the current directory; the
    API URL is never read from a file.

    Attributes:
        api_key: API key; else ``DAYTONA_API_KEY``.
        api_url: Base URL of the API, or ``"local"`` for the bundled server; else ``DAYTONA_API_URL``,
            else ``https://app.daytona.io/api``.
        server_url: Deprecated: use ``api_url``.
        target: Region for new sandboxes; else ``DAYTONA_TARGET``.
        jwt_token: JWT, used where there is no API key; else ``DAYTONA_JWT_TOKEN``.
        organization_id: Needed with a JWT; else ``DAYTONA_ORGANIZATION_ID``.
        connection_pool_maxsize: Requests in flight at once, at least 1; ``None`` is no limit.
        otel_enabled: Send OpenTelemetry data.
        use_deprecated_polling: Wait for states by polling only.
        request_timeout: Seconds a request may take that has no limit of its own; 0 is no limit.
        max_response_bytes: Bytes that an answer may have which is held in memory, a download to memory too; 0 is
            no limit; else ``DAYTONA_MAX_RESPONSE_BYTES``, else 256 MiB.
    """

    api_key: str | None = None
    api_url: str | None = None
    server_url: str | None = None
    target: str | None = None
    jwt_token: str | None = None
    organization_id: str | None = None
    connection_pool_maxsize: int | None = 250
    otel_enabled: bool | None = None
    use_deprecated_polling: bool | None = None
    request_timeout: float | None = None
    max_response_bytes: int | None = None

    _secret = frozenset({"api_key", "jwt_token"})
    _also = frozenset({"_experimental"})
    _known_by = ("api_key", "api_url", "target")

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            experimental = values.pop("_experimental", None)
            if experimental and values.get("otel_enabled") is None:
                values["otel_enabled"] = experimental.get("otelEnabled")
            super().__init__(**values)
            if self.server_url is not None:
                from ._warnings import warn

                warn("server_url is deprecated; use api_url", DeprecationWarning)
                if self.api_url is None:
                    self.api_url = self.server_url


class Resources(Record):
    """CPU, memory, disk and GPU of a sandbox.

    Attributes:
        cpu: Cores.
        memory: GiB.
        disk: GiB.
        gpu: Number of GPUs.
        gpu_type: Acceptable models, one or several.
    """

    cpu: int | None = None
    memory: int | None = None
    disk: int | None = None
    gpu: int | None = None
    gpu_type: GpuType | list[GpuType] | None = None

    _known_by = ("cpu", "memory", "disk", "gpu")


class VolumeMount(Model):
    """A volume in a sandbox.

    Attributes:
        volume_id: Id or name of the volume.
        mount_path: Absolute path in the sandbox.
        subpath: Only this folder of the volume.
    """

    volume_id: str
    mount_path: str
    subpath: str | None = None


class CreateSandboxBaseParams(Model):
    """What a new sandbox is to be like. Everything is optional.

    Attributes:
        name: Unique name; its id where ``None``.
        language: Language of ``code_run``: ``python`` (the default), ``typescript`` or ``javascript``.
        os_user: User that commands run as.
        env_vars: Environment of everything that runs in it.
        labels: Free key-value pairs.
        public: Previews need no token.
        auto_stop_interval: Idle minutes before it stops, from 0; 0 is never. Servers default to 15.
        auto_pause_interval: Idle minutes before it pauses, from 0; 0 is never.
        auto_archive_interval: Stopped minutes before it is archived, from 0; 0 is the maximum.
        auto_delete_interval: Stopped minutes before it is deleted; 0 is at once, negative is never.
        ttl_minutes: Minutes it lives at most, from 0; 0 is no limit.
        queue_timeout: Time it may wait for capacity, at least 1.
        volumes: Volumes to mount.
        secrets: Environment variable to name of the secret it holds.
        network_block_all: No network at all.
        kvm: Give it ``/dev/kvm``.
        network_allow_list: Comma separated IPv4 networks it may reach, at most 10: ``192.0.2.0/24,203.0.113.7/32``.
        domain_allow_list: Comma separated domains it may reach: ``example.com,*.example.org``.
        outbound_proxy_url: Proxy for its traffic.
        otel_endpoint_override: Where its telemetry goes.
        ephemeral: Deleted when it stops; the same as an ``auto_delete_interval`` of 0.
        spot: The provider may take it back.
        linked_sandbox: Another sandbox to be placed with.
        target: Region; the client's where ``None``.
    """

    name: str | None = None
    language: CodeLanguage | str | None = None
    os_user: str | None = None
    env_vars: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    public: bool | None = None
    auto_stop_interval: int | None = None
    auto_pause_interval: int | None = None
    auto_archive_interval: int | None = None
    auto_delete_interval: int | None = None
    ttl_minutes: int | None = None
    queue_timeout: int | None = None
    volumes: list[VolumeMount] | None = None
    secrets: dict[str, str] | None = None
    network_block_all: bool | None = None
    kvm: bool | None = None
    network_allow_list: str | None = None
    domain_allow_list: str | None = None
    outbound_proxy_url: str | None = None
    otel_endpoint_override: str | None = None
    ephemeral: bool | None = None
    spot: bool | None = None
    linked_sandbox: str | None = None
    target: str | None = None

    _known_by = ("language", "env_vars", "auto_stop_interval")


class CreateSandboxFromSnapshotParams(CreateSandboxBaseParams):
    """A new sandbox from a snapshot.

    Attributes:
        snapshot: Name of the snapshot; the server's default where ``None``.
    """

    snapshot: str | None = None


class CreateSandboxFromImageParams(CreateSandboxBaseParams):
    """A new sandbox from an image.

    Attributes:
        image: The image, as a registry names it: ``python:3.12-slim``; or one to be built.
        resources: What it gets; the server's default where ``None``.
    """

    image: str | Image
    resources: Resources | None = None


class ListSandboxesQuery(Record):
    """Which sandboxes to list. Everything is optional; what is given must all hold.

    Attributes:
        limit: Sandboxes a page, 1 to 200; all pages are listed. Servers default to 100.
        id: Prefix of the id.
        name: Prefix of the name.
        labels: Labels it must have.
        states: States it may be in.
        snapshots: Snapshots it may come from.
        targets: Regions it may be in.
        min_cpu: Cores, at least.
        max_cpu: Cores, at most.
        min_memory_gib: GiB of memory, at least.
        max_memory_gib: GiB of memory, at most.
        min_disk_gib: GiB of disk, at least.
        max_disk_gib: GiB of disk, at most.
        is_public: Previews need no token.
        is_recoverable: ``recover`` may bring it back.
        created_at_after: Times are ``datetime`` or RFC 3339 text; one without a zone is local.
        created_at_before: As above.
        last_activity_after: As above.
        last_activity_before: As above.
        auto_destroy_at_after: As above.
        auto_destroy_at_before: As above.
        sort: Field to sort by.
        order: ``asc`` or ``desc``.
        sandbox_classes: What it may run in.
    """

    limit: int | None = None
    id: str | None = None
    name: str | None = None
    labels: dict[str, str] | None = None
    states: list[SandboxState] | list[str] | str | None = None
    snapshots: list[str] | str | None = None
    targets: list[str] | str | None = None
    min_cpu: float | None = None
    max_cpu: float | None = None
    min_memory_gib: float | None = None
    max_memory_gib: float | None = None
    min_disk_gib: float | None = None
    max_disk_gib: float | None = None
    is_public: bool | None = None
    is_recoverable: bool | None = None
    created_at_after: datetime | str | None = None
    created_at_before: datetime | str | None = None
    last_activity_after: datetime | str | None = None
    last_activity_before: datetime | str | None = None
    auto_destroy_at_after: datetime | str | None = None
    auto_destroy_at_before: datetime | str | None = None
    sort: SandboxListSortField | str | None = None
    order: SandboxListSortDirection | str | None = None
    sandbox_classes: list[SandboxClass] | list[str] | str | None = None

    _known_by = ("limit", "labels")


class CodeRunParams(Record):
    """How to run a program.

    Attributes:
        argv: Its arguments, each passed whole.
        env: Added to the sandbox's environment.
    """

    argv: list[str] | None = None
    env: dict[str, str] | None = None

    _known_by = ("argv", "env")


class FileUpload(Record):
    """One file to write in a sandbox.

    Attributes:
        source: Contents as bytes, or the path of a local file.
        destination: Path in the sandbox; missing folders are made.
    """

    source: bytes | str | os.PathLike[str]
    destination: str

    # A binary file or an iterable of bytes does as well.
    _unchecked = frozenset({"source"})

    # Written out because programs make many of these.
    def __init__(self, source: bytes | str | os.PathLike[str], destination: str) -> None:
        fields = self.__dict__
        fields["source"] = source
        fields["destination"] = destination


class FileDownloadRequest(Record):
    """One file to read from a sandbox.

    Attributes:
        source: Path in the sandbox.
        destination: Local path, replaced as a whole or not at all; memory where ``None``.
    """

    source: str
    destination: str | os.PathLike[str] | None = None

    # Written out because programs make many of these.
    def __init__(self, source: str, destination: str | os.PathLike[str] | None = None) -> None:
        fields = self.__dict__
        fields["source"] = source
        fields["destination"] = destination
