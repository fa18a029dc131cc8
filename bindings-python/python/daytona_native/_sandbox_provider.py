"""What a sandbox provider is configured with, and what it tells."""

from __future__ import annotations

from ._model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class SandboxHandle(Model):
    """What names a sandbox from now on, for this process or any other.

    Attributes:
        provider: ``daytona``.
        external_id: The server's id.
        transport: ``dial-in``: whoever provisions connects to the sandbox.
        provisioned_at: RFC 3339.
    """

    provider: str
    external_id: str
    transport: str
    provisioned_at: str


class PoolConfig(Model):
    """What the sandboxes of a pool have in common.

    Attributes:
        daytona_api_url: Base URL of the API; ``DAYTONA_API_URL`` beats it.
        image: Image of the sandboxes.
        disk_gb: GiB.
        user: User that the command runs as.
        command: What runs in each sandbox, argument by argument.
        target: Region.
        api: ``sandbox`` or ``workspace``; what the server has where ``None``.
    """

    daytona_api_url: str
    image: str
    disk_gb: int
    user: str
    command: list[str]
    target: str | None
    api: str | None


class CapabilityProfile(Model):
    """What a provider can do.

    Attributes:
        transport: ``dial-in``.
        fs_snapshot: Whether the files of a sandbox can be kept as a snapshot.
        pause_resume: Whether a sandbox can stand still with its memory.
        capacity_query: Whether ``capacity`` has an answer.
        os: ``linux``.
        arch: ``x86_64`` or ``aarch64``.
        idle_cost: What a stopped sandbox costs: ``storage-only``.
        billing: ``wall-clock``.
        gpu: Whether sandboxes can have GPUs.
        custom_network_policy: Whether a sandbox can have limits of its network.
        egress_default: What a sandbox may reach where nothing is said: ``allow``.
    """

    transport: str
    fs_snapshot: bool
    pause_resume: bool
    capacity_query: bool
    os: str
    arch: str
    idle_cost: str
    billing: str
    gpu: bool
    custom_network_policy: bool
    egress_default: str


class Quota(Model):
    """How much of something there may be, and is.

    Attributes:
        total: What there may be.
        used: What is used.
        available: What is left, at least 0.
    """

    total: float
    used: float
    available: float


class CapacityRegion(Model):
    """How much more there could be in one region.

    Attributes:
        region_id: The region.
        sandbox_class: ``container``, ``linux-vm`` or ``windows``.
        cpu: Cores.
        memory_gb: GiB.
        disk_gb: GiB.
        gpu: GPUs.
    """

    region_id: str
    sandbox_class: str
    cpu: Quota
    memory_gb: Quota
    disk_gb: Quota
    gpu: Quota


def snake(values: dict[str, Any]) -> dict[str, Any]:
    """Give fields their Python names; ``diskGB`` is ``disk_gb``."""
    from ._service import snake

    return snake({name.replace("GB", "Gb"): of for name, of in values.items()})


def region(values: dict[str, Any]) -> CapacityRegion:
    """Make a region of what the core tells."""
    made = snake(values)
    quotas = {name: Quota(**of) for name, of in made.items() if isinstance(of, dict)}
    return CapacityRegion(**{**made, **quotas})


def plain(handle: SandboxHandle | Mapping[str, Any]) -> dict[str, Any]:
    """Return a handle as the core reads it; a mapping may have either spelling."""
    from ._given import given_mapping, refuse

    if handle is None:
        refuse("handle must be a SandboxHandle or a dict with its fields, not None")
    values = handle.model_dump(mode="json") if isinstance(handle, SandboxHandle) else given_mapping("handle", handle)
    names = {"external_id": "externalId", "provisioned_at": "provisionedAt"}
    return {names.get(name, name): of for name, of in values.items()}
