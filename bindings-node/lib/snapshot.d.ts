import type { CallOptions } from './call.js'
import type { GpuType, SandboxClass, SnapshotState } from './enums.js'
import type { BuildInfo } from './sandbox.js'

/** Files that sandboxes are made from. */
export interface Snapshot {
  /** Unique, never reused. */
  id: string
  /** The organization it belongs to. */
  organizationId?: string
  /** Every organization may use it. */
  general: boolean
  /** Unique. */
  name: string
  /** The image it was made from. */
  imageName?: string
  /** Where it is; sandboxes are made from active ones. */
  state: SnapshotState
  /** GiB, where known. */
  size: number | null
  /** Command that its sandboxes start with. */
  entrypoint: string[] | null
  /** Cores of its sandboxes. */
  cpu: number
  /** GPUs of its sandboxes. */
  gpu: number
  /** GPU model. */
  gpuType?: GpuType
  /** GiB of memory of its sandboxes. */
  mem: number
  /** GiB of disk of its sandboxes. */
  disk: number
  /** Why it is in an error state. */
  errorReason: string | null
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339. */
  updatedAt: string
  /** RFC 3339 time when a sandbox was made from it last. */
  lastUsedAt: string | null
  /** The image it is built from. */
  buildInfo?: BuildInfo
  /** Regions that have it. */
  regionIds?: string[]
  /** The machine that made it. */
  initialRunnerId?: string
  /** What a registry calls it. */
  ref?: string
  /** The sandbox it was made from. */
  sourceSandboxId: string | null
  /** What its sandboxes run in. */
  sandboxClass?: SandboxClass
}

/** One page of a list of snapshots. */
export interface PaginatedSnapshots {
  /** The snapshots of this page. */
  items: Snapshot[]
  /** Of all pages. */
  total: number
  /** This page, from 1. */
  page: number
  /** Number of pages. */
  totalPages: number
}

/** Which snapshots to list. */
export interface ListSnapshotsQuery {
  /** Number of the page, from 1. */
  page?: number
  /** Snapshots a page, 1 to 200; 100 by default. */
  limit?: number
  /** Only those made from the sandbox with this id. */
  sourceSandboxId?: string
}

/** The snapshots of one API: {@link Daytona.snapshot}. {@link Sandbox.createSnapshot} makes new ones. */
export declare class SnapshotService {
  private constructor()

  /**
   * One page of the snapshots.
   *
   * @throws {DaytonaInvalidArgumentError} for a page or limit below 1
   */
  list(query?: ListSnapshotsQuery, options?: CallOptions): Promise<PaginatedSnapshots>
  list(page?: number, limit?: number, options?: CallOptions): Promise<PaginatedSnapshots>

  /**
   * Finds a snapshot by its id or name.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  get(idOrName: string, options?: CallOptions): Promise<Snapshot>

  /**
   * Deletes a snapshot; sandboxes that were made from it live on.
   *
   * @param snapshot  it, or its id or name
   * @throws {DaytonaNotFoundError} if there is none
   */
  delete(snapshot: Snapshot | string, options?: CallOptions): Promise<void>

  /**
   * Makes an inactive snapshot usable again.
   *
   * @param snapshot  it, or its id or name
   * @throws {DaytonaBadRequestError} if it is not inactive
   */
  activate(snapshot: Snapshot | string, options?: CallOptions): Promise<Snapshot>
}
