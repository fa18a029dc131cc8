/** Language of {@link Process.codeRun}. */
export declare enum CodeLanguage {
  PYTHON = 'python',
  TYPESCRIPT = 'typescript',
  JAVASCRIPT = 'javascript',
}

/** Model of a GPU. */
export declare enum GpuType {
  H100 = 'H100',
  H200 = 'H200',
  RTX_PRO_6000 = 'RTX-PRO-6000',
  RTX_4090 = 'RTX-4090',
  RTX_5090 = 'RTX-5090',
  MI355X = 'MI355X',
  UNKNOWN_DEFAULT_OPEN_API = '11184809',
}

/** Where a sandbox is in its life. */
export declare enum SandboxState {
  CREATING = 'creating',
  RESTORING = 'restoring',
  DESTROYED = 'destroyed',
  DESTROYING = 'destroying',
  STARTED = 'started',
  STOPPED = 'stopped',
  STARTING = 'starting',
  STOPPING = 'stopping',
  ERROR = 'error',
  BUILD_FAILED = 'build_failed',
  PENDING_BUILD = 'pending_build',
  BUILDING_SNAPSHOT = 'building_snapshot',
  UNKNOWN = 'unknown',
  PULLING_SNAPSHOT = 'pulling_snapshot',
  ARCHIVED = 'archived',
  ARCHIVING = 'archiving',
  RESIZING = 'resizing',
  SNAPSHOTTING = 'snapshotting',
  FORKING = 'forking',
  PAUSING = 'pausing',
  PAUSED = 'paused',
  RESUMING = 'resuming',
  UNKNOWN_DEFAULT_OPEN_API = '11184809',
}

/** Where a snapshot is in its life. */
export declare enum SnapshotState {
  BUILDING = 'building',
  PENDING = 'pending',
  PULLING = 'pulling',
  SNAPSHOTTING = 'snapshotting',
  ACTIVE = 'active',
  INACTIVE = 'inactive',
  ERROR = 'error',
  BUILD_FAILED = 'build_failed',
  REMOVING = 'removing',
  UNKNOWN_DEFAULT_OPEN_API = '11184809',
}

/** What lists of sandboxes are sorted by. */
export declare enum SandboxListSortField {
  NAME = 'name',
  CPU = 'cpu',
  MEMORY_GIB = 'memoryGib',
  DISK_GIB = 'diskGib',
  LAST_ACTIVITY_AT = 'lastActivityAt',
  CREATED_AT = 'createdAt',
  UNKNOWN_DEFAULT_OPEN_API = '11184809',
}

/** In which direction lists of sandboxes are sorted. */
export declare enum SandboxListSortDirection {
  ASC = 'asc',
  DESC = 'desc',
  UNKNOWN_DEFAULT_OPEN_API = '11184809',
}

/** Kind of machine a sandbox is. */
export declare enum SandboxClass {
  LINUX_VM = 'linux-vm',
  CONTAINER = 'container',
  ANDROID = 'android',
  WINDOWS = 'windows',
  UNKNOWN_DEFAULT_OPEN_API = '11184809',
}

/** Kind of a {@link Chart}. */
export declare enum ChartType {
  LINE = 'line',
  SCATTER = 'scatter',
  BAR = 'bar',
  PIE = 'pie',
  BOX_AND_WHISKER = 'box_and_whisker',
  COMPOSITE_CHART = 'composite_chart',
  UNKNOWN = 'unknown',
}
