import type { CallOptions } from './call.js'

/** A volume: storage that sandboxes share and that outlives them. */
export interface Volume {
  /** Unique, never reused. */
  id: string
  /** Unique in the organization. */
  name: string
  /** The organization it belongs to. */
  organizationId: string
  /** Where it is in its life. */
  state: 'creating' | 'ready' | 'pending_create' | 'pending_delete' | 'deleting' | 'deleted' | 'error' | (string & {})
  /** RFC 3339, as all times. */
  createdAt: string
  /** When it was changed last. */
  updatedAt: string
  /** When a sandbox was last started with it. */
  lastUsedAt?: string | null
  /** Why it is in `error`. */
  errorReason: string | null
}

/** The volumes of the organization. */
export declare class VolumeService {
  private constructor()

  /** All volumes. */
  list(options?: CallOptions): Promise<Volume[]>

  /**
   * Finds a volume by its name.
   *
   * @param create  create it where there is none
   * @throws {DaytonaNotFoundError} if there is none
   */
  get(name: string, create?: boolean, options?: CallOptions): Promise<Volume>

  /**
   * Creates a volume.
   *
   * @throws {DaytonaConflictError} if the name is taken
   */
  create(name: string, options?: CallOptions): Promise<Volume>

  /**
   * Deletes a volume and all in it.
   *
   * @throws {DaytonaConflictError} while a sandbox has it, a stopped one too
   * @throws {DaytonaNotFoundError} if it is gone
   */
  delete(volume: Volume, options?: CallOptions): Promise<void>
}
