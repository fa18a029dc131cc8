import type { CallOptions } from './call.js'
import type { GpuType, SandboxClass, SandboxListSortDirection, SandboxListSortField, SandboxState } from './enums.js'
import type { FileSystem } from './files.js'
import type { Git } from './git.js'
import type { CodeInterpreter } from './interpreter.js'
import type { LspLanguageId, LspServer } from './lsp.js'
import type { Process } from './process.js'

/** A volume in a sandbox. */
export interface SandboxVolume {
  /** Id or name of the volume. */
  volumeId: string
  /** Absolute path in the sandbox. */
  mountPath: string
  /** Only this folder of the volume. */
  subpath?: string
}

/** Where a port of a sandbox can be reached with its token. */
export interface PortPreviewUrl {
  /** The sandbox. */
  sandboxId: string
  /** Absolute, without the token. */
  url: string
  /** To be sent as the header `X-Daytona-Preview-Token`; another one after each start. */
  token: string
}

/** Where a port of a sandbox can be reached for a time by whoever has the URL. */
export interface SignedPortPreviewUrl {
  /** The sandbox. */
  sandboxId: string
  /** The one port it leads to. */
  port: number
  /** A part of the URL; what {@link Sandbox.expireSignedPreviewUrl} takes. */
  token: string
  /** Absolute, with the token. */
  url: string
}

/** A token that lets its holder in over SSH. */
export interface SshAccessDto {
  /** Of this access. */
  id: string
  /** The sandbox. */
  sandboxId: string
  /** The SSH user name; there is no password. */
  token: string
  /** RFC 3339 time when it lets in for the last time. */
  expiresAt: string
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339. */
  updatedAt: string
  /** For a shell: `ssh ... TOKEN@HOST`. */
  sshCommand: string
}

/** Whether a token lets its holder in. */
export interface SshAccessValidationDto {
  /** It does. */
  valid: boolean
  /** The sandbox it leads to; empty if it is not valid. */
  sandboxId: string
}

/** What a sandbox used at one time. */
export interface SandboxMetrics {
  /** Cores. */
  cpuCount: number
  /** Percent of these. */
  cpuUsedPct: number
  /** Bytes. */
  diskTotal: number
  /** Bytes. */
  diskUsed: number
  /** Bytes. */
  memTotal: number
  /** Bytes. */
  memUsed: number
  /** Bytes of `memUsed` that hold files. */
  memCache: number
  /** The time. */
  timestamp: Date
}

/** The state a sandbox is going to. */
export type SandboxDesiredState =
  'destroyed' | 'started' | 'stopped' | 'resized' | 'archived' | 'paused' | (string & {})

/** State of a sandbox's backup. */
export type SandboxBackupState = 'None' | 'Pending' | 'InProgress' | 'Completed' | 'Error' | (string & {})

/** The image a sandbox was built from. */
export interface BuildInfo {
  /** The Dockerfile's text. */
  dockerfileContent?: string
  /** Hashes of the uploaded contexts. */
  contextHashes?: string[]
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339. */
  updatedAt: string
  /** Name of what was built. */
  snapshotRef: string
}

/** Which sandboxes to list; what is given must all hold. */
export interface ListSandboxesQuery {
  /** Sandboxes a page, 1 to 200; 100 by default. It does not limit the list. */
  limit?: number
  /** Default: the server's. */
  sort?: SandboxListSortField
  /** Default: the server's. */
  order?: SandboxListSortDirection
  /** Beginning of the id. */
  id?: string
  /** Beginning of the name. */
  name?: string
  /** All of these. */
  labels?: Record<string, string>
  /** Any of these. */
  states?: SandboxState[]
  /** Any of these. */
  snapshots?: string[]
  /** Any of these regions. */
  targets?: string[]
  /** Any of these. */
  sandboxClasses?: SandboxClass[]
  /** Cores. */
  minCpu?: number
  /** Cores. */
  maxCpu?: number
  /** GiB. */
  minMemoryGib?: number
  /** GiB. */
  maxMemoryGib?: number
  /** GiB. */
  minDiskGib?: number
  /** GiB. */
  maxDiskGib?: number
  /** Previews need no token. */
  isPublic?: boolean
  /** In an error state that it can come back from. */
  isRecoverable?: boolean
  createdAtAfter?: Date
  createdAtBefore?: Date
  lastActivityAfter?: Date
  lastActivityBefore?: Date
  autoDestroyAtAfter?: Date
  autoDestroyAtBefore?: Date
}

/** What a sandbox may reach. At least one is needed; what is absent stays as it is. */
export interface UpdateSandboxNetworkSettings {
  /** True for no network at all, false for all of it: without a list beside it, the lists are dropped. */
  networkBlockAll?: boolean
  /** Comma separated IPv4 networks (`192.0.2.0/24`), at most 10; empty for no such limit. Ends a block. */
  networkAllowList?: string
  /** Comma separated domains (`example.com,*.example.org`); empty for no such limit. Ends a block. */
  domainAllowList?: string
}

/** How to fork a sandbox. */
export interface ForkSandboxParams {
  /** Unique name of the fork; one is made where none is given. */
  name?: string
}

/**
 * One sandbox. Its properties are what the server said last; calls that change the sandbox refresh
 * them. Sandboxes come from {@link Daytona.create}, {@link Daytona.get} and {@link Daytona.list}.
 */
export declare class Sandbox {
  private constructor()

  /** Runs Python code that keeps its state. */
  readonly codeInterpreter: CodeInterpreter
  /** Its files. */
  readonly fs: FileSystem
  /** Its git repositories. */
  readonly git: Git
  /** Its processes. */
  readonly process: Process

  /** Unique, never reused. */
  id: string
  /** Unique in the organization. */
  name: string
  /** The organization it belongs to. */
  organizationId: string
  /** Name of the snapshot it was made from. */
  snapshot?: string
  /** The user that commands run as. */
  user: string
  /** Environment of everything that runs in it. */
  env?: Record<string, string>
  /** Key-value pairs to find it by. */
  labels: Record<string, string>
  /** Previews need no token. */
  public: boolean
  /** Region. */
  target: string
  /** Cores. */
  cpu: number
  /** GPUs. */
  gpu: number
  /** The provider may take it back. */
  spot?: boolean
  /** RFC 3339 time when the provider took it back. */
  spotEvictedAt?: string
  /** RFC 3339 time when it gave up waiting for capacity. */
  queueTimedOutAt?: string
  /** Seconds it may wait for capacity. */
  queueTimeout?: number
  /** GPU model. */
  gpuType?: GpuType
  /** GiB. */
  memory: number
  /** GiB. */
  disk: number
  /** Where it is in its life. */
  state?: SandboxState
  /** Where it is going. */
  desiredState?: SandboxDesiredState
  /** Why it is in an error state. */
  errorReason?: string
  /** In an error state that it can come back from. */
  recoverable?: boolean
  /** State of its backup. */
  backupState?: SandboxBackupState
  /** RFC 3339. */
  backupCreatedAt?: string
  /** Idle minutes before it stops; 0 is never. */
  autoStopInterval?: number
  /** Idle minutes before it pauses; 0 is never. */
  autoPauseInterval?: number
  /** Stopped minutes before it is archived; 0 is the maximum. */
  autoArchiveInterval?: number
  /** Stopped minutes before it is deleted; 0 is at once, negative is never. */
  autoDeleteInterval?: number
  /** RFC 3339 time when its time to live ends. */
  autoDestroyAt?: string
  /** Volumes mounted in it. */
  volumes?: SandboxVolume[]
  /** The image it was built from. */
  buildInfo?: BuildInfo
  /** RFC 3339. */
  createdAt?: string
  /** RFC 3339. */
  updatedAt?: string
  /** RFC 3339; what the auto-stop interval is measured from. */
  lastActivityAt?: string
  /** It has no network. */
  networkBlockAll?: boolean
  /** Comma separated CIDR blocks it may reach. */
  networkAllowList?: string
  /** Comma separated domains it may reach. */
  domainAllowList?: string
  /** Proxy its traffic goes through. */
  outboundProxyUrl?: string
  /** Where its telemetry goes. */
  otelEndpointOverride?: string
  /** The sandbox it goes with. */
  linkedSandboxId?: string
  /** Kind of machine. */
  sandboxClass?: SandboxClass
  /** The warm pool it came from. */
  warmPoolId?: string
  /** Version of the agent in it. */
  daemonVersion?: string
  /** The machine it runs on. */
  runnerId?: string
  /** It may use `/dev/kvm`. */
  kvm?: boolean
  /** Base URL of the requests to it. */
  toolboxProxyUrl: string

  /**
   * Asks the server for its data.
   *
   * @throws {DaytonaNotFoundError} if it is gone
   */
  refreshData(options?: CallOptions): Promise<void>

  /**
   * Starts it and waits until it has started.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @throws {DaytonaTimeoutError}
   */
  start(timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Stops it and waits until it has stopped; an ephemeral sandbox is destroyed by that.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @param force    kill what runs in it instead of asking it to end
   * @throws {DaytonaTimeoutError}
   */
  stop(timeout?: number, force?: boolean, options?: CallOptions): Promise<void>

  /**
   * Deletes it.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @param wait     return only when it is destroyed
   */
  delete(timeout?: number, wait?: boolean, options?: CallOptions): Promise<void>

  /**
   * Freezes everything that runs in it, and waits until it has; {@link Sandbox.start} lets it go on where it was.
   * Memory is kept, and calls under way are answered when it goes on.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @throws {DaytonaBadRequestError} if it is not started
   * @throws {DaytonaUnsupportedError} where nothing can be frozen
   */
  pause(timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Packs it away, to save room; {@link Sandbox.start} brings it back. Resolves when that has begun.
   *
   * @throws {DaytonaBadRequestError} if it is not stopped, or ephemeral
   */
  archive(options?: CallOptions): Promise<void>

  /**
   * Brings it back from an error that it can come back from, and waits until it has started.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @param options  `acceptLoss`: begin again without the files that it has lost, as the refusal said; servers of this
   *   project only
   * @throws {DaytonaBadRequestError} if it is in no such error
   * @throws {DaytonaConflictError} if its files are lost (code `SANDBOX_FILES_LOST`) and that is not accepted
   */
  recover(timeout?: number, options?: CallOptions & { acceptLoss?: boolean }): Promise<void>

  /**
   * Gives it more or fewer cores, memory or disk, and waits until it has them. While it runs it can get more cores
   * and memory; a disk can grow while it is stopped.
   *
   * @param resources  cores and GiB, at least 1 each; what is not given stays
   * @param timeout    seconds, default 60; 0 is no limit
   * @throws {DaytonaBadRequestError} if its state forbids that
   * @throws {DaytonaUnsupportedError} if the limit would not hold
   */
  resize(
    resources: { cpu?: number; memory?: number; disk?: number },
    timeout?: number,
    options?: CallOptions,
  ): Promise<void>

  /**
   * Waits until it is no longer being resized.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @throws {DaytonaTimeoutError}
   */
  waitForResizeComplete(timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Makes another sandbox with its files as they are now and its settings, and waits until that has started. Nothing
   * that runs in it runs in the other one.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @throws {DaytonaBadRequestError} if it is not started
   * @throws {DaytonaConflictError} if the name is taken
   * @throws {DaytonaUnsupportedError} where nothing can be frozen, for the copy to be whole
   */
  fork(params?: ForkSandboxParams, timeout?: number, options?: CallOptions): Promise<Sandbox>

  /** @deprecated Use {@link Sandbox.fork}. */
  _experimental_fork(params?: ForkSandboxParams, timeout?: number, options?: CallOptions): Promise<Sandbox>

  /**
   * Makes a snapshot of its files, to create sandboxes from, and waits until it is in its former state again.
   *
   * @param name     unique name of the snapshot
   * @param timeout  seconds, default 60; 0 is no limit
   * @throws {DaytonaBadRequestError} if it is neither started nor stopped
   * @throws {DaytonaConflictError} if the name is taken
   */
  createSnapshot(name: string, timeout?: number, options?: CallOptions): Promise<void>

  /** @deprecated Use {@link Sandbox.createSnapshot}. */
  _experimental_createSnapshot(name: string, timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Waits until it has started.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @throws {DaytonaTimeoutError}
   */
  waitUntilStarted(timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Waits until it has stopped or is destroyed.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @throws {DaytonaTimeoutError}
   */
  waitUntilStopped(timeout?: number, options?: CallOptions): Promise<void>

  /** Replaces all labels, and returns those in force. */
  setLabels(labels: Record<string, string>, options?: CallOptions): Promise<Record<string, string>>

  /**
   * Idle minutes before it stops; 0 is never.
   *
   * @throws {DaytonaInvalidArgumentError} if it is not a non-negative integer
   */
  setAutostopInterval(interval: number, options?: CallOptions): Promise<void>

  /**
   * Idle minutes before it pauses; 0 is never.
   *
   * @throws {DaytonaInvalidArgumentError} if it is not a non-negative integer
   */
  setAutoPauseInterval(interval: number, options?: CallOptions): Promise<void>

  /**
   * Stopped minutes before it is archived; 0 is the maximum.
   *
   * @throws {DaytonaInvalidArgumentError} if it is not a non-negative integer
   */
  setAutoArchiveInterval(interval: number, options?: CallOptions): Promise<void>

  /**
   * Stopped minutes before it is deleted; 0 is at once, negative is never.
   *
   * @throws {DaytonaInvalidArgumentError} if it is not an integer
   */
  setAutoDeleteInterval(interval: number, options?: CallOptions): Promise<void>

  /**
   * Minutes it lives from now; 0 is no limit.
   *
   * @throws {DaytonaInvalidArgumentError} if it is not a non-negative integer
   */
  setTtl(ttlMinutes: number, options?: CallOptions): Promise<void>

  /** Whether previews need no token. */
  setPublic(isPublic: boolean, options?: CallOptions): Promise<void>

  /**
   * Changes what it may reach; connections that are no longer allowed end.
   *
   * @throws {DaytonaInvalidArgumentError} if nothing is given; nothing was sent
   * @throws {DaytonaBadRequestError} if a list has an entry that is no network or domain, or the server's runtime
   * cannot limit a network
   */
  updateNetworkSettings(settings: UpdateSandboxNetworkSettings, options?: CallOptions): Promise<void>

  /**
   * Changes the environment of what starts from now on: commands, sessions, terminals and interpreters. What runs
   * keeps what it has. The local server keeps the change when the sandbox is stopped.
   *
   * @param options  `unset`: variables to remove before `env` is set
   * @throws {DaytonaInvalidArgumentError} for what is no name of a variable, before anything is sent
   */
  updateEnv(env: Record<string, string>, options?: CallOptions & { unset?: string[] }): Promise<void>

  /**
   * Replaces the secrets it holds: environment variable to name of the secret. What starts from now on sees their
   * placeholders.
   *
   * @throws {DaytonaBadRequestError} if there is no such secret
   */
  updateSecrets(secrets: Record<string, string>, options?: CallOptions): Promise<void>

  /** What it uses at present. */
  getMetricsLatest(options?: CallOptions): Promise<SandboxMetrics>

  /**
   * What it used over time, oldest first.
   *
   * @param start  since it was created by default
   * @param end    until now by default
   */
  getMetrics(start?: Date, end?: Date, options?: CallOptions): Promise<SandboxMetrics[]>

  /** Tells the server that it is in use. */
  refreshActivity(options?: CallOptions): Promise<void>

  /**
   * The language server of a project; nothing runs before it is started. A relative path starts from the work
   * directory.
   *
   * @throws {DaytonaInvalidArgumentError} for another language than `python`, `typescript` and `javascript`
   */
  createLspServer(languageId: LspLanguageId | `${LspLanguageId}`, pathToProject: string): Promise<LspServer>

  /** The home directory of its user. */
  getUserHomeDir(options?: Pick<CallOptions, 'signal'>): Promise<string>

  /** @deprecated Use {@link Sandbox.getUserHomeDir}. */
  getUserRootDir(options?: Pick<CallOptions, 'signal'>): Promise<string>

  /** The directory that relative paths and commands start from. */
  getWorkDir(options?: Pick<CallOptions, 'signal'>): Promise<string>

  /**
   * A URL to GET a file from, without the API key.
   *
   * @param ttlSeconds  how long it is good for, default 3600; 0 or less never expires
   */
  downloadUrl(path: string, ttlSeconds?: number, options?: Pick<CallOptions, 'signal'>): Promise<string>

  /**
   * A URL to POST a file to, as the field `file` of a form, without the API key.
   *
   * @param ttlSeconds  how long it is good for, default 3600; 0 or less never expires
   */
  uploadUrl(path: string, ttlSeconds?: number, options?: Pick<CallOptions, 'signal'>): Promise<string>

  /** Makes a new signing key: every URL signed so far stops working. */
  rotateSigningKey(options?: Pick<CallOptions, 'signal'>): Promise<void>

  /**
   * Where what listens on a port can be reached over HTTP.
   *
   * @param port  from 1 to 65535
   * @throws {DaytonaInvalidArgumentError} if it is no port
   */
  getPreviewLink(port: number, options?: CallOptions): Promise<PortPreviewUrl>

  /**
   * A URL that leads whoever has it to a port, without a token beside it.
   *
   * @param port              from 1 to 65535
   * @param expiresInSeconds  from 1 to 86400, default 60
   * @throws {DaytonaInvalidArgumentError} if it is no port, or less than a second
   * @throws {DaytonaBadRequestError} if it is more than a day
   */
  getSignedPreviewUrl(port: number, expiresInSeconds?: number, options?: CallOptions): Promise<SignedPortPreviewUrl>

  /**
   * Ends a signed URL before its time.
   *
   * @throws {DaytonaNotFoundError} if it has expired, or never was
   */
  expireSignedPreviewUrl(port: number, token: string, options?: CallOptions): Promise<void>

  /**
   * A token that lets its holder in over SSH; the one made before lets nobody in any more.
   *
   * @param expiresInMinutes  from 1, default 60
   * @throws {DaytonaInvalidArgumentError} if it is less than a minute
   */
  createSshAccess(expiresInMinutes?: number, options?: CallOptions): Promise<SshAccessDto>

  /** Takes a token back, and ends what its holder does. */
  revokeSshAccess(token: string, options?: CallOptions): Promise<void>

  /** Whether a token lets its holder in, and into which sandbox. */
  validateSshAccess(token: string, options?: CallOptions): Promise<SshAccessValidationDto>
}
