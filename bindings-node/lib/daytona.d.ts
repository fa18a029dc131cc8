/// <reference types="node" />

import type { Api } from './api.js'
import type { CallOptions } from './call.js'
import type { CodeLanguage, GpuType } from './enums.js'
import type { Image } from './image.js'
import type { ForkSandboxParams, ListSandboxesQuery, Sandbox, SandboxVolume } from './sandbox.js'
import type { ContextUploadProgress, SnapshotService } from './snapshot.js'
import type { SecretService } from './secret.js'
import type { VolumeService } from './volume.js'
import type { WarmPoolService } from './warm_pool.js'

/**
 * Settings of a client. What is not given is looked up in the process environment
 * (`DAYTONA_API_KEY`, `DAYTONA_API_URL`, ...), then in `.env.local`, then in `.env`; the API URL is
 * never read from a file.
 */
export interface DaytonaConfig {
  /** API key. */
  apiKey?: string
  /** JWT, used where there is no API key; needs `organizationId`. */
  jwtToken?: string
  /** Organization id, for a JWT. */
  organizationId?: string
  /** Base URL of the API (default `https://app.daytona.io/api`), or `local` for the bundled server. */
  apiUrl?: string
  /** @deprecated Use `apiUrl`. */
  serverUrl?: string
  /** Region of new sandboxes. */
  target?: string
  /**
   * Shows calls to OpenTelemetry: spans and durations go where the `OTEL_EXPORTER_OTLP_...` variables say,
   * the last ones when the process exits. A call is a child of the program's own active span.
   */
  otelEnabled?: boolean
  /** @deprecated Wait for states by polling only. */
  useDeprecatedPolling?: boolean
  /**
   * Milliseconds that a request may take where it has no limit of its own; finite, at least 0; 0 is
   * no limit.
   */
  requestTimeoutMs?: number
  /**
   * Bytes that an answer may have which is held in memory, a download to memory too; 0 is no limit. By default
   * `DAYTONA_MAX_RESPONSE_BYTES`, else 256 MiB.
   */
  maxResponseBytes?: number
  /** Settings that may change. */
  _experimental?: Record<string, any>
}

/** Settings of a client of the bundled local server. */
export interface LocalOptions
  extends Pick<DaytonaConfig, 'requestTimeoutMs' | 'maxResponseBytes' | 'target' | 'otelEnabled'> {
  /** Directory of its sandboxes and settings; by default one per user. */
  dataDir?: string
  /**
   * How it has to make sandboxes; `process` isolates nothing. The server is started so; the first call rejects with
   * a `DaytonaConflictError` if one runs with another runtime, and with a `DaytonaError` if it cannot be started so.
   * Any if there is none.
   */
  runtime?: 'ns' | 'docker' | 'process'
}

/** CPU, memory, disk and GPU of a sandbox. */
export interface Resources {
  /** Cores. */
  cpu?: number
  /** GPUs. */
  gpu?: number
  /** Acceptable GPU models. */
  gpuType?: GpuType | GpuType[]
  /** GiB. */
  memory?: number
  /** GiB. */
  disk?: number
}

/** A volume to mount. */
export interface VolumeMount extends SandboxVolume {
  /** Id or name of the volume. */
  volumeId: string
  /** Absolute path in the sandbox. */
  mountPath: string
}

/** What a new sandbox is to be like. */
export type CreateSandboxBaseParams = {
  /** Unique name; the id if there is none. */
  name?: string
  /** User that commands run as. */
  user?: string
  /** Language of {@link Process.codeRun}; `python` by default. */
  language?: CodeLanguage | string
  /** Environment of everything that runs in it. */
  envVars?: Record<string, string>
  /** Key-value pairs to find it by. */
  labels?: Record<string, string>
  /** Previews need no token. */
  public?: boolean
  /** Idle minutes before it stops; 0 is never. Servers default to 15. */
  autoStopInterval?: number
  /** Idle minutes before it pauses; 0 is never. Excludes a non-zero `autoStopInterval`. */
  autoPauseInterval?: number
  /** Stopped minutes before it is archived; 0 is the maximum. Servers default to 7 days. */
  autoArchiveInterval?: number
  /** Stopped minutes before it is deleted; 0 is at once, negative is never. */
  autoDeleteInterval?: number
  /** Minutes it lives at most, whatever its state; 0 is no limit. */
  ttlMinutes?: number
  /** Seconds it may wait for capacity, at least 1. */
  queueTimeout?: number
  /** Volumes to mount. */
  volumes?: VolumeMount[]
  /** No network at all. */
  networkBlockAll?: boolean
  /** Comma separated CIDR blocks it may reach. */
  networkAllowList?: string
  /** Comma separated domains it may reach. */
  domainAllowList?: string
  /** Proxy for its HTTP traffic. */
  outboundProxyUrl?: string
  /** Where its telemetry goes. */
  otelEndpointOverride?: string
  /** Deleted when it stops; the same as an `autoDeleteInterval` of 0. */
  ephemeral?: boolean
  /** May be taken back by the provider; GPU only. */
  spot?: boolean
  /** May use `/dev/kvm`. */
  kvm?: boolean
  /** Region; the client's if there is none. */
  target?: string
  /** Id or name of a sandbox to go with; ephemeral sandboxes only. */
  linkedSandbox?: string
  /** Environment variable to name of the secret it holds. */
  secrets?: Record<string, string>
}

/** What a new sandbox from an image is to be like. */
export type CreateSandboxFromImageParams = CreateSandboxBaseParams & {
  /** Image, as a registry names it: `debian:12.9`; or one to be built. */
  image: string | Image
  /** Its CPU, memory, disk and GPU. */
  resources?: Resources
}

/** What a new sandbox from a snapshot is to be like. */
export type CreateSandboxFromSnapshotParams = CreateSandboxBaseParams & {
  /** Name of the snapshot; the server's default if there is none. */
  snapshot?: string
}

/** How to create a sandbox. */
export interface CreateSandboxOptions {
  /** Seconds until it must have started, uploads and builds included; 0 is no limit. Default 60. */
  timeout?: number
  /** Called with lines of the log of the image's build as they come, where there is a build; awaited. */
  onSnapshotCreateLogs?: (chunk: string) => void | Promise<void>
  /** Called with what of the image's local files has been uploaded. */
  onUploadProgress?: (progress: ContextUploadProgress) => void
  /** See {@link CallOptions.signal}. */
  signal?: AbortSignal
}

/**
 * A client of one Daytona API. Making one does no I/O, and it needs no closing.
 *
 * @example
 * const daytona = new Daytona()
 * const sandbox = await daytona.create()
 * console.log((await sandbox.process.executeCommand('echo hello')).result)
 * await sandbox.delete()
 */
export declare class Daytona implements AsyncDisposable {
  /**
   * @throws {DaytonaAuthenticationError} if no credential is found
   * @throws {DaytonaInvalidArgumentError} for a value out of range
   */
  constructor(config?: DaytonaConfig)

  /** Administration, and any other operation of the API. */
  readonly api: Api
  /** Secrets: values that sandboxes use without seeing them. */
  readonly secret: SecretService
  /** Volumes: storage that sandboxes share and that outlives them. */
  readonly volume: VolumeService
  /** Warm pools: started sandboxes that wait for who creates one. */
  readonly warmPool: WarmPoolService

  /**
   * A client of the bundled local server: no account, no Docker. The first call starts the server, or
   * joins the one that runs for the same user and data directory; it stops when the last process that
   * uses it ends. A `DaytonaWarning` says so once if it isolates nothing.
   *
   * @throws {DaytonaError} if the server's binary is not found
   * @throws {DaytonaInvalidArgumentError} if there is no such runtime
   */
  static local(options?: LocalOptions): Daytona

  /**
   * How the local server makes sandboxes: `ns`, `docker`, or `process`, which isolates nothing; starts the server if
   * none runs. `undefined` for a server that is given by its URL.
   *
   * @throws {DaytonaConflictError} if it has another runtime than {@link Daytona.local} was called with
   */
  runtime(options?: Pick<CallOptions, 'signal'>): Promise<string | undefined>

  /** There is nothing to close; what OpenTelemetry is to be shown is sent, for two seconds at most. */
  [Symbol.asyncDispose](): Promise<void>

  /**
   * Creates a sandbox and waits until it has started. A call that its signal ends leaves no sandbox behind: what the
   * server has made of it, or still makes, is deleted.
   *
   * @throws {DaytonaInvalidArgumentError} before anything is sent
   * @throws {DaytonaNotFoundError} if a local file that the image copies is not there; nothing was sent
   * @throws {DaytonaBuildFailedError} if the image could not be built, with the reason and the end of the log
   * @throws {DaytonaTimeoutError} with `sandboxId` if the server has told that by then: the sandbox stays, and is
   *   yours to follow or delete. Otherwise it is deleted
   */
  create(params?: CreateSandboxFromSnapshotParams, options?: CreateSandboxOptions): Promise<Sandbox>
  create(params?: CreateSandboxFromImageParams, options?: CreateSandboxOptions): Promise<Sandbox>

  /**
   * Finds a sandbox by its id or name.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  get(sandboxIdOrName: string, options?: CallOptions): Promise<Sandbox>

  /**
   * The sandboxes that match, fetched page by page as they are asked for. They come without `env`,
   * `volumes` and `buildInfo`.
   */
  list(query?: ListSandboxesQuery, options?: CallOptions): AsyncGenerator<Sandbox, void, undefined>

  /** Starts a sandbox and waits until it has started. `timeout` is in seconds, default 60. */
  start(sandbox: Sandbox, timeout?: number, options?: CallOptions): Promise<void>

  /** Stops a sandbox and waits until it has stopped. */
  stop(sandbox: Sandbox, options?: CallOptions): Promise<void>

  /**
   * Deletes a sandbox.
   *
   * @param timeout  seconds, default 60; 0 is no limit
   * @param wait     return only when it is destroyed
   */
  delete(sandbox: Sandbox, timeout?: number, wait?: boolean, options?: CallOptions): Promise<void>

  /** What sandboxes can be made from. */
  readonly snapshot: SnapshotService

  /** Makes another sandbox with the files of this one: {@link Sandbox.fork}. */
  fork(sandbox: Sandbox, params?: ForkSandboxParams, timeout?: number, options?: CallOptions): Promise<Sandbox>

  /** @deprecated Use {@link Daytona.fork}. */
  _experimental_fork(
    sandbox: Sandbox,
    params?: ForkSandboxParams,
    timeout?: number,
    options?: CallOptions,
  ): Promise<Sandbox>
}
