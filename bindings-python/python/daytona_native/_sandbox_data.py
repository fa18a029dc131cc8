"""What the API says of a sandbox."""

from __future__ import annotations

from ._native import Sandbox as _NativeSandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

    from ._enums import GpuType, SandboxClass, SandboxDesiredState, SandboxState
    from ._results import BuildInfo, SandboxVolume


def _enum(name: str) -> Callable[[str], Any]:
    def convert(value: str) -> Any:
        from . import _enums

        return getattr(_enums, name)(value)

    return convert


def _volumes(values: list[tuple[str, str, str | None]]) -> list[SandboxVolume]:
    from ._results import SandboxVolume

    return [SandboxVolume._of(volume_id=id, mount_path=path, subpath=subpath) for id, path, subpath in values]


def _build_info(values: dict[str, Any]) -> BuildInfo:
    from ._results import BuildInfo

    return BuildInfo._of(**values)


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "gpu_type": _enum("GpuType"),
    "state": _enum("SandboxState"),
    "desired_state": _enum("SandboxDesiredState"),
    "sandbox_class": _enum("SandboxClass"),
    "volumes": _volumes,
    "build_info": _build_info,
}
_FIELDS = frozenset(_NativeSandbox.FIELDS)


class SandboxData:
    """The fields of a sandbox, as the server described it last; ``refresh_data`` asks again.

    Lists leave ``env``, ``volumes``, ``build_info`` and the network settings out: they are ``None``.

    Attributes:
        id: Unique, never reused.
        organization_id: The organization it belongs to.
        name: Unique in the organization.
        snapshot: Name of the snapshot it was made from.
        user: The user that commands run as.
        env: Environment of everything that runs in it.
        labels: Free key-value pairs.
        public: True if previews need no token.
        network_block_all: True if it has no network.
        kvm: True if it has ``/dev/kvm``.
        network_allow_list: Comma separated CIDR blocks it may reach.
        domain_allow_list: Comma separated domains it may reach.
        outbound_proxy_url: Proxy its traffic goes through.
        otel_endpoint_override: Where its telemetry goes.
        target: Region.
        cpu: Cores.
        gpu: Number of GPUs.
        spot: True if the provider may take it back.
        spot_evicted_at: When the provider took it back.
        queue_timed_out_at: When it gave up waiting for capacity.
        gpu_type: Model of the GPUs.
        memory: GiB.
        disk: GiB.
        state: Where it is in its life.
        desired_state: Where it is going.
        error_reason: Why it is in ``error`` or ``build_failed``.
        recoverable: True if ``recover`` may bring it back.
        warm_pool_id: The warm pool it waits in.
        backup_state: State of its backup.
        backup_created_at: Time of its last backup.
        auto_stop_interval: Idle minutes before it stops; 0 is never.
        auto_pause_interval: Idle minutes before it pauses; 0 is never.
        auto_archive_interval: Stopped minutes before it is archived; 0 is the maximum.
        auto_delete_interval: Stopped minutes before it is deleted; 0 is at once, negative is never.
        auto_destroy_at: When its time to live ends, RFC 3339 as all times.
        queue_timeout: Time it may wait for capacity.
        volumes: Volumes mounted in it.
        build_info: The image it was built from.
        created_at: When it was made.
        updated_at: When it was changed last.
        last_activity_at: What the auto-stop interval is measured from.
        sandbox_class: What it runs in.
        daemon_version: Version of the agent inside.
        runner_id: The machine it runs on.
        linked_sandbox_id: The sandbox it is placed with.
        toolbox_proxy_url: Base URL of its toolbox.
    """

    id: str
    organization_id: str
    name: str
    snapshot: str | None
    user: str
    env: dict[str, str] | None
    labels: dict[str, str]
    public: bool
    network_block_all: bool | None
    kvm: bool | None
    network_allow_list: str | None
    domain_allow_list: str | None
    outbound_proxy_url: str | None
    otel_endpoint_override: str | None
    target: str
    cpu: float
    gpu: float
    spot: bool
    spot_evicted_at: str | None
    queue_timed_out_at: str | None
    gpu_type: GpuType | None
    memory: float
    disk: float
    state: SandboxState | None
    desired_state: SandboxDesiredState | None
    error_reason: str | None
    recoverable: bool | None
    warm_pool_id: str | None
    backup_state: str | None
    backup_created_at: str | None
    auto_stop_interval: float | None
    auto_pause_interval: float | None
    auto_archive_interval: float | None
    auto_delete_interval: float | None
    auto_destroy_at: str | None
    queue_timeout: int | None
    volumes: list[SandboxVolume] | None
    build_info: BuildInfo | None
    created_at: str | None
    updated_at: str | None
    last_activity_at: str | None
    sandbox_class: SandboxClass | None
    daemon_version: str | None
    runner_id: str | None
    linked_sandbox_id: str | None
    toolbox_proxy_url: str

    model_fields: ClassVar[dict[str, None]] = dict.fromkeys(_NativeSandbox.FIELDS)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Read a field from the bridge; nothing is converted before it is asked for."""
            if name not in _FIELDS:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            value = self._native.field(name)
            if value is not None and name in _CONVERT:
                return _CONVERT[name](value)
            return value

    def __init__(self, native: _NativeSandbox) -> None:
        self._native = native

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_FIELDS]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} id={self.id!r} name={self.name!r} state={self._native.field('state')!r}>"

    def model_dump(self, *, mode: str = "python", by_alias: bool = False, exclude_none: bool = False) -> dict[str, Any]:
        """Return all fields as a dict; ``mode="json"`` makes enums text, ``by_alias`` uses the API's names."""
        from ._model import _camel, _plain

        values = {name: getattr(self, name) for name in _NativeSandbox.FIELDS}
        return {
            _camel(name) if by_alias else name: _plain(value, mode, by_alias, exclude_none)
            for name, value in values.items()
            if value is not None or not exclude_none
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are not ``None`` under the API's names."""
        return self.model_dump(by_alias=True, exclude_none=True)
