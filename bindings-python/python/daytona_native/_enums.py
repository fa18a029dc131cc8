"""Names that the API knows, as enums that are also text."""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self


class _ApiEnum(str, Enum):
    """An API's enum: a name of a later version reads as ``UNKNOWN_DEFAULT_OPEN_API``."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        unknown = cls.__members__.get("UNKNOWN_DEFAULT_OPEN_API")
        return unknown if isinstance(value, str) else None


class CodeLanguage(str, Enum):
    """Languages that ``code_run`` runs."""

    PYTHON = "python"
    TYPESCRIPT = "typescript"
    JAVASCRIPT = "javascript"

    def __str__(self) -> str:
        return self.value


class SandboxState(_ApiEnum):
    """Where a sandbox is in its life."""

    CREATING = "creating"
    RESTORING = "restoring"
    DESTROYED = "destroyed"
    DESTROYING = "destroying"
    STARTED = "started"
    STOPPED = "stopped"
    STARTING = "starting"
    STOPPING = "stopping"
    ERROR = "error"
    BUILD_FAILED = "build_failed"
    PENDING_BUILD = "pending_build"
    BUILDING_SNAPSHOT = "building_snapshot"
    UNKNOWN = "unknown"
    PULLING_SNAPSHOT = "pulling_snapshot"
    ARCHIVED = "archived"
    ARCHIVING = "archiving"
    RESIZING = "resizing"
    SNAPSHOTTING = "snapshotting"
    FORKING = "forking"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"


class SandboxDesiredState(_ApiEnum):
    """Where a sandbox is going."""

    DESTROYED = "destroyed"
    STARTED = "started"
    STOPPED = "stopped"
    RESIZED = "resized"
    ARCHIVED = "archived"
    PAUSED = "paused"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"


class SnapshotState(_ApiEnum):
    """Where a snapshot is in its life."""

    BUILDING = "building"
    PENDING = "pending"
    PULLING = "pulling"
    SNAPSHOTTING = "snapshotting"
    ACTIVE = "active"
    INACTIVE = "inactive"
    ERROR = "error"
    BUILD_FAILED = "build_failed"
    REMOVING = "removing"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"


class GpuType(_ApiEnum):
    """Models of GPUs."""

    H100 = "H100"
    H200 = "H200"
    B200 = "B200"
    B300 = "B300"
    RTX_PRO_6000 = "RTX-PRO-6000"
    RTX_4090 = "RTX-4090"
    RTX_5090 = "RTX-5090"
    MI355X = "MI355X"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"


class SandboxClass(_ApiEnum):
    """What a sandbox runs in."""

    LINUX_VM = "linux-vm"
    CONTAINER = "container"
    WINDOWS = "windows"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"


class SandboxListSortField(_ApiEnum):
    """What a list of sandboxes can be sorted by."""

    NAME = "name"
    CPU = "cpu"
    MEMORYGIB = "memoryGib"
    DISKGIB = "diskGib"
    LASTACTIVITYAT = "lastActivityAt"
    CREATEDAT = "createdAt"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"


class SandboxListSortDirection(_ApiEnum):
    """The order of a sorted list."""

    ASC = "asc"
    DESC = "desc"
    UNKNOWN_DEFAULT_OPEN_API = "unknown_default_open_api"
