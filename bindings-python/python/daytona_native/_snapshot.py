"""What calls about snapshots take and return."""

from __future__ import annotations

from ._enums import SnapshotState
from ._model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any

    from ._enums import GpuType, SandboxClass
    from ._image import Image
    from ._params import Resources
    from ._results import BuildInfo


class CreateSnapshotParams(Model):
    """What a new snapshot is to be like.

    Attributes:
        name: Unique name.
        image: The image it is made from: its name in a registry, or one to be built.
        resources: What its sandboxes get; the server's default where ``None``.
        entrypoint: What its sandboxes run, in the place of what the image says.
        region_id: Region to have it in; the client's target where ``None``.
        sandbox_class: What its sandboxes run in.
    """

    name: str
    image: str | Image
    resources: Resources | None = None
    entrypoint: list[str] | None = None
    region_id: str | None = None
    sandbox_class: SandboxClass | str | None = None

    _known_by = ("name", "image", "entrypoint")


class Snapshot(Model):
    """Files that sandboxes are made from.

    Attributes:
        id: Unique, never reused.
        organization_id: The organization it belongs to.
        general: True if every organization may use it.
        name: Unique name.
        image_name: The image it was made from.
        state: Where it is; sandboxes are made from ``ACTIVE`` ones.
        size: GiB, where known.
        entrypoint: Command that its sandboxes start with.
        cpu: Cores of its sandboxes.
        gpu: GPUs of its sandboxes.
        gpu_type: Model of the GPUs.
        mem: GiB of memory of its sandboxes.
        disk: GiB of disk of its sandboxes.
        error_reason: Why it is in an error state.
        created_at: When it was made.
        updated_at: When it was changed last.
        last_used_at: When a sandbox was made from it last.
        build_info: The image it is built from.
        region_ids: Regions that have it.
        initial_runner_id: The machine that made it.
        ref: What a registry calls it.
        source_sandbox_id: The sandbox it was made from.
        sandbox_class: What its sandboxes run in.
    """

    id: str
    organization_id: str | None = None
    general: bool
    name: str
    image_name: str | None = None
    state: SnapshotState
    size: float | None
    entrypoint: list[str] | None
    cpu: float
    gpu: float
    gpu_type: GpuType | None = None
    mem: float
    disk: float
    error_reason: str | None
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None
    build_info: BuildInfo | None = None
    region_ids: list[str] | None = None
    initial_runner_id: str | None = None
    ref: str | None = None
    source_sandbox_id: str | None
    sandbox_class: SandboxClass | None = None

    _known_by = ("id", "name", "size", "entrypoint")


class PaginatedSnapshots(Model):
    """One page of a list of snapshots.

    Attributes:
        items: The snapshots of this page.
        total: Of all pages.
        page: This page, from 1.
        total_pages: Number of pages.
    """

    items: list[Snapshot]
    total: int
    page: int
    total_pages: int


def snapshot(values: dict[str, Any]) -> Snapshot:
    """Make a snapshot of the values of its fields."""
    from ._enums import GpuType, SandboxClass
    from ._results import BuildInfo

    convert: dict[str, Callable[[Any], object]] = {
        "state": SnapshotState,
        "gpu_type": GpuType,
        "sandbox_class": SandboxClass,
        "created_at": _time,
        "updated_at": _time,
        "last_used_at": _time,
        "build_info": lambda info: BuildInfo(**info),
    }
    for name, make in convert.items():
        if values[name] is not None:
            values[name] = make(values[name])
    return Snapshot._of(**values)


def _time(text: str) -> datetime:
    from datetime import datetime

    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def page(values: tuple[list[dict[str, Any]], int, int, int]) -> PaginatedSnapshots:
    """Make a page of its parts."""
    items, total, number, pages = values
    return PaginatedSnapshots(items=[snapshot(item) for item in items], total=total, page=number, total_pages=pages)


def name_of(given: Snapshot | Mapping[str, Any] | str) -> str:
    """Return what a snapshot is called in a request."""
    if isinstance(given, str):
        return given
    from ._given import given_id

    return given_id("snapshot", given, Snapshot, "Its id or name does as well")
