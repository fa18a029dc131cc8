import type { CallOptions } from './call.js'

/** A warm pool: started sandboxes that wait for who creates one from their snapshot. */
export interface WarmPool {
  /** Unique, never reused. */
  id: string
  /** The organization it belongs to. */
  organizationId: string
  /** The snapshot its sandboxes are made from. */
  snapshot: string
  /** Region. */
  target: string
  /** How many sandboxes are to wait. */
  pool: number
  /** How many do. */
  currentSize: number
  /** Cores of each. */
  cpu: number
  /** Memory of each in GiB. */
  mem: number
  /** Disk of each in GiB. */
  disk: number
  /** User of each. */
  osUser: string
  /** Environment of each. */
  env: Record<string, string>
  /** Why it cannot be filled. */
  errorReason?: string | null
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339. */
  updatedAt: string
}

/** A new warm pool. */
export interface CreateWarmPool {
  /** Id or name of the snapshot. */
  snapshot: string
  /** How many sandboxes are to wait. */
  pool: number
  /** Region; the organization's default if there is none. */
  target?: string
}

/** Changes of a warm pool. */
export interface UpdateWarmPool {
  /** How many sandboxes are to wait; 0 empties the pool. */
  pool: number
}

/** The warm pools of the organization. */
export declare class WarmPoolService {
  private constructor()

  /** All warm pools. */
  list(options?: CallOptions): Promise<WarmPool[]>

  /**
   * Creates a warm pool; it fills in the background.
   *
   * @throws {DaytonaConflictError} if there is one for this snapshot and region
   * @throws {DaytonaInvalidArgumentError} for a negative size, before anything is sent
   */
  create(params: CreateWarmPool, options?: CallOptions): Promise<WarmPool>

  /**
   * Changes how many sandboxes are to wait.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  update(warmPoolId: string, params: UpdateWarmPool, options?: CallOptions): Promise<WarmPool>

  /**
   * Deletes a warm pool and the sandboxes that wait in it.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  delete(warmPoolId: string, options?: CallOptions): Promise<void>
}
