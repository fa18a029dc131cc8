import type { CallOptions } from './call.js'
import type { LogStream } from './session.js'

/** What the sandboxes of a pool have in common; `snake_case` is fine too. */
export interface PoolOptions {
  /** Base URL of the API; `DAYTONA_API_URL` beats it. Default `https://app.daytona.io/api`. */
  daytonaApiUrl?: string
  /** Image of the sandboxes. Default `ghcr.io/renseiai/donmai-worker:latest`. */
  image?: string
  /** GiB. Default 20. */
  diskGB?: number
  /** User that the command runs as. Default `daytona`. */
  user?: string
  /** What runs in each sandbox, argument by argument. Default `['donmai', 'agent', 'run']`. */
  command?: string[]
  /** Region. */
  target?: string
  /** The form of the API. Default `auto`: what the server has. */
  api?: 'auto' | 'sandbox' | 'workspace'
}

/** The pool in force. */
export interface PoolConfig {
  daytonaApiUrl: string
  image: string
  diskGB: number
  user: string
  command: string[]
  target: string | null
  api: 'sandbox' | 'workspace' | null
}

/** One sandbox that is asked for; what is not given is the pool's. */
export interface ProvisionSpec {
  /** Unique name. */
  name?: string
  /** Image, as a registry names it. */
  image?: string
  /** Snapshot in place of an image; it has its own sizes. */
  snapshot?: string
  /** User that the command runs as. */
  user?: string
  /** What runs in it, argument by argument; nothing if empty. */
  command?: string[]
  /** Environment of everything that runs in it. */
  env?: Record<string, string>
  /** Free key-value pairs. */
  labels?: Record<string, string>
  /** Cores. */
  cpu?: number
  /** GiB. */
  memoryGB?: number
  /** GiB. */
  diskGB?: number
  /** GPUs. */
  gpu?: number
  /** Idle seconds before it stops, rounded up to minutes. Default 30 minutes. */
  timeoutSec?: number
  /** Region. */
  target?: string
  /** No network at all. */
  networkBlockAll?: boolean
}

/** What names a sandbox from now on, for this process or any other. */
export interface SandboxHandle {
  /** `daytona`. */
  provider: string
  /** The server's id. */
  externalId: string
  /** `dial-in`: whoever provisions connects to the sandbox. */
  transport: string
  /** RFC 3339. */
  provisionedAt: string
}

/** Where a sandbox is in its life. No Daytona server says `ready`. */
export type ProviderStatus = 'provisioning' | 'ready' | 'running' | 'paused' | 'terminated' | 'failed'

/** What a provider can do. */
export interface CapabilityProfile {
  /** `dial-in`. */
  transport: string
  /** Whether the files of a sandbox can be kept as a snapshot. */
  fsSnapshot: boolean
  /** Whether a sandbox can stand still with its memory. */
  pauseResume: boolean
  /** Whether `capacity` has an answer. */
  capacityQuery: boolean
  /** `linux`. */
  os: string
  /** `x86_64` or `aarch64`. */
  arch: string
  /** What a stopped sandbox costs: `storage-only`. */
  idleCost: string
  /** `wall-clock`. */
  billing: string
  /** Whether sandboxes can have GPUs. */
  gpu: boolean
  /** Whether a sandbox can have limits of its network. */
  customNetworkPolicy: boolean
  /** What a sandbox may reach where nothing is said: `allow`. */
  egressDefault: string
}

/** How much of something there may be, is, and is left. */
export interface Quota {
  total: number
  used: number
  available: number
}

/** How much more there could be in one region. */
export interface CapacityRegion {
  /** The region. */
  regionId: string
  /** `container`, `linux-vm` or `windows`. */
  sandboxClass: string
  /** Cores. */
  cpu: Quota
  /** GiB. */
  memoryGB: Quota
  /** GiB. */
  diskGB: Quota
  /** GPUs. */
  gpu: Quota
}

/**
 * Provisions sandboxes and terminates them.
 *
 * @example
 * const provider = new SandboxProvider({ image: 'python:3.12', command: ['python', '-m', 'worker'] })
 * const handle = await provider.provision({ timeoutSec: 900 })
 * for await (const { text } of await provider.streamLogs(handle)) process.stdout.write(text)
 * await provider.terminate(handle)
 */
export declare class SandboxProvider {
  /**
   * @param options  `apiKey`, else `DAYTONA_API_KEY`
   * @throws {DaytonaInvalidArgumentError} for a key that is not known, or a value that cannot be
   * @throws {DaytonaAuthenticationError} `Daytona API key not set`
   */
  constructor(pool?: PoolOptions | null, options?: { apiKey?: string })

  /** What every server of this kind is taken to do; see {@link SandboxProvider.capabilities}. */
  static profile(): CapabilityProfile

  /** The pool in force. */
  get pool(): PoolConfig

  /**
   * Makes a sandbox, waits until it has started, and starts its command. What fails leaves nothing behind.
   *
   * @param options  `timeout`: seconds it may take, 300 unless given
   * @throws {DaytonaInvalidArgumentError} for a key that is not known, or a value that cannot be; nothing was sent
   */
  provision(spec?: ProvisionSpec, options?: CallOptions): Promise<SandboxHandle>

  /** Where a sandbox is in its life; one that is gone is `terminated`. */
  status(handle: SandboxHandle, options?: CallOptions): Promise<ProviderStatus>

  /**
   * Deletes a sandbox; one that is gone already is fine.
   *
   * @param options  `force`: also while its state is changing
   * @throws {DaytonaConflictError} while its state is changing, without `force`
   */
  terminate(handle: SandboxHandle, options?: Pick<CallOptions, 'signal'> & { force?: boolean }): Promise<void>

  /**
   * Lets a sandbox stand still, with its memory.
   *
   * @throws {DaytonaUnsupportedError} where the server cannot do that
   */
  pause(handle: SandboxHandle, options?: CallOptions): Promise<void>

  /**
   * Lets a paused or stopped sandbox go on.
   *
   * @throws {DaytonaUnsupportedError} where the server cannot do that
   */
  resume(handle: SandboxHandle, options?: CallOptions): Promise<void>

  /**
   * What the command writes, from its beginning to its end; in a sandbox without one, what the image's program writes.
   *
   * @throws {DaytonaNotFoundError} where there is no such sandbox
   * @throws {DaytonaUnsupportedError} where the server cannot do that
   */
  streamLogs(handle: SandboxHandle, options?: Pick<CallOptions, 'signal'>): Promise<LogStream>

  /**
   * How much more the organization may use, region by region.
   *
   * @throws {DaytonaUnsupportedError} where the server does not say, or not to this key
   */
  capacity(options?: CallOptions): Promise<CapacityRegion[]>

  /** What the server at hand really can do; where it does not say, that is {@link SandboxProvider.profile}. */
  capabilities(options?: CallOptions): Promise<CapabilityProfile>
}
