import type { CallOptions } from './call.js'
import type { GpuType, SandboxClass, SnapshotState } from './enums.js'
import type { Resources } from './daytona.js'
import type { Image } from './image.js'
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

/** What a new snapshot is to be like. */
export type CreateSnapshotParams = {
  /** Unique. */
  name: string
  /** The image it is made from: its name in a registry, or one to be built. */
  image: string | Image
  /** What its sandboxes get. */
  resources?: Resources
  /** What its sandboxes run, in the place of what the image says. */
  entrypoint?: string[]
  /** Region to have it in; the client's target if there is none. */
  regionId?: string
  /** What its sandboxes run in. */
  sandboxClass?: SandboxClass
}

/** What of an image's local files has been uploaded. */
export interface ContextUploadProgress {
  /** Bytes so far. */
  bytesSent: number
  /** Bytes in all. */
  totalBytes?: number
}

/** How to make a snapshot. */
export interface CreateSnapshotOptions extends CallOptions {
  /**
   * Seconds until it must be there, uploads included. 0, the default, is no limit, as builds may take long; every
   * request within has one.
   */
  timeout?: number
  /** Called with each state and with lines of the build's log as they come; awaited. */
  onLogs?: (chunk: string) => void | Promise<void>
  /** Called with what of the image's local files has been uploaded. */
  onUploadProgress?: (progress: ContextUploadProgress) => void
}

/**
 * The log of a build as it is written, piece by piece, from its beginning to its end. Leaving the loop, `close`, and
 * losing the last reference to it close its connection; the build goes on.
 *
 * @example
 * for await (const text of await daytona.snapshot.buildLogs('mine')) process.stdout.write(text)
 */
export declare class BuildLog implements AsyncIterable<string>, AsyncDisposable {
  private constructor()

  /**
   * The pieces that nobody has taken yet.
   *
   * @throws {DaytonaNotFoundError} from the loop, if the snapshot was not built
   * @throws {DaytonaConnectionError} from the loop, when the connection breaks again and again
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<string>

  /** Ends it early. */
  close(): void

  /** The same as {@link BuildLog.close}. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * The snapshots of one API: {@link Daytona.snapshot}. `create` makes new ones from images,
 * {@link Sandbox.createSnapshot} from sandboxes.
 */
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
   * Makes a snapshot from an image, which is pulled or built for it, and waits until it is active.
   *
   * @throws {DaytonaInvalidArgumentError} before anything is sent
   * @throws {DaytonaNotFoundError} if a local file that the image copies is not there; nothing was sent
   * @throws {DaytonaConflictError} if the name is taken
   * @throws {DaytonaBuildFailedError} if the image could not be built, with the reason and the end of the log
   * @throws {DaytonaTimeoutError} after `timeout`; it may still be being made
   */
  create(params: CreateSnapshotParams, options?: CreateSnapshotOptions): Promise<Snapshot>

  /**
   * Follows the log of a snapshot's build.
   *
   * @param snapshot  it, or its id or name
   * @throws {DaytonaNotFoundError} if there is no such snapshot
   */
  buildLogs(snapshot: Snapshot | string, options?: Pick<CallOptions, 'signal'>): Promise<BuildLog>

  /**
   * Takes a snapshot out of use; `activate` brings it back.
   *
   * @param snapshot  it, or its id or name
   * @throws {DaytonaBadRequestError} if it is not active
   */
  deactivate(snapshot: Snapshot | string, options?: CallOptions): Promise<void>

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
