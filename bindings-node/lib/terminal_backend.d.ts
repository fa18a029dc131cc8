import type { CallOptions } from './call.js'
import type { Daytona } from './daytona.js'
import type { ExecStream } from './exec_stream.js'

/** An image that has the tools of a language. */
export interface TerminalImage {
  /** Its name. */
  image: string
  /** Whose tools are in it. */
  language: 'node' | 'python' | 'go' | 'rust'
}

/** `terminal.daytona` of a configuration; `snake_case` is fine too. */
export interface TerminalDaytonaConfig {
  /** Image of the sandboxes. Default `ubuntu:24.04`. */
  image?: string
  /** Snapshot in place of an image; it has its own sizes. */
  snapshot?: string
  /** Cores. Default 4. */
  cpu?: number
  /** With its unit, `mb`, `gb` or `tb`, in whole gigabytes. Default `8gb`. */
  memory?: string
  /** The same. Default `20gb`. */
  disk?: string
  /** Seconds after which a command is killed; 0 is no limit. Default 3600. */
  timeout?: number
  /** Keep one sandbox for all commands. Default false: each command has its own. */
  keepAlive?: boolean
  /** The same as `keepAlive`. */
  keep_alive?: boolean
  /** Seconds without a command after which a kept sandbox is destroyed. Default 600. */
  maxIdle?: number
  /** The same as `maxIdle`. */
  max_idle?: number
  /** Seconds until a new sandbox must have started. Default 300. */
  createTimeout?: number
  /** The same as `createTimeout`. */
  create_timeout?: number
  /** The task whose files stay: the same id finds its sandbox again, in any process. */
  taskId?: string
  /** The same as `taskId`. */
  task_id?: string
  /** Labels of the sandboxes. */
  labels?: Record<string, string>
  /** Environment of everything that runs in them. */
  env?: Record<string, string>
}

/** A configuration. Beside `terminal` there may be anything. */
export interface TerminalSettings {
  terminal?: { backend?: 'daytona'; daytona?: TerminalDaytonaConfig }
  [other: string]: unknown
}

/** The configuration in force; sizes are in GiB, and null with a snapshot. */
export interface TerminalConfig {
  image: string | null
  snapshot: string | null
  cpu: number | null
  memory: number | null
  disk: number | null
  timeout: number
  keepAlive: boolean
  maxIdle: number
  createTimeout: number
  taskId: string | null
  labels: Record<string, string>
  env: Record<string, string>
}

/** How to run a command. */
export interface TerminalRunOptions {
  /** Working directory; the sandbox's own where it is not given. */
  cwd?: string
  /** Added to the environment of the configuration. */
  env?: Record<string, string>
  /** Seconds after which it is killed; 0 is no limit, nothing is the configuration's. */
  timeout?: number
  /** Kills it. */
  signal?: AbortSignal
}

/** What a command left. */
export interface TerminalResult {
  /** 128 + n if signal n ended it. */
  exitCode: number
  /** With U+FFFD for what is not UTF-8. */
  stdout: string
  /** The same of the standard error. */
  stderr: string
}

/**
 * Runs commands in sandboxes that it makes and destroys.
 *
 * Without `keepAlive` each command has a sandbox of its own, which is deleted before its end is told, however it ends.
 * With `keepAlive` one sandbox is kept until `maxIdle` seconds have passed without a command. With `taskId` the files
 * stay. When the process goes without a word, the server destroys what it left.
 *
 * @example
 * await using terminal = new TerminalBackend({ terminal: { daytona: { keepAlive: true } } })
 * const { stdout } = await terminal.run('uname -a')
 */
export declare class TerminalBackend implements AsyncDisposable {
  /**
   * @param config  an object, or the same as YAML; the defaults where nothing is given
   * @param options  `daytona`, the client whose server is used, else what `new Daytona()` finds; `taskId`, the same as
   *   the key, not with YAML
   * @throws {DaytonaInvalidArgumentError} for a key that is not known, or a value that cannot be
   * @throws {DaytonaAuthenticationError} `Daytona API key not set`
   */
  constructor(config?: string | TerminalSettings | null, options?: { daytona?: Daytona; taskId?: string })

  /** Images that have the tools of a language. */
  static images(): TerminalImage[]

  /** The configuration in force. */
  get config(): TerminalConfig

  /**
   * Starts a line in the shell of a sandbox; its output comes while it runs. Closing the stream, or losing the last
   * reference to it, kills the command.
   *
   * @throws {DaytonaInvalidArgumentError} for a blank command or a bad name in `env`; nothing was made
   * @throws {DaytonaError} `Workspace creation failed`, with the reason and what to do
   */
  exec(command: string, options?: TerminalRunOptions): Promise<ExecStream>

  /**
   * Runs a line to its end. `stdin` is written, a string as UTF-8, and closed.
   *
   * @throws {DaytonaProcessExecutionTimeoutError} when it ran over its limit
   * @throws {DaytonaSandboxDiedError} when the sandbox ends
   */
  run(command: string, options?: TerminalRunOptions & { stdin?: string | Uint8Array }): Promise<TerminalResult>

  /**
   * Destroys the sandboxes of this process, with what runs in them, and waits until that is done. The sandbox of a task
   * stays. A later command makes a new one. An abort ends the waiting alone.
   *
   * @throws {DaytonaTimeoutError} after `timeout` seconds, 60 unless given
   */
  close(options?: CallOptions): Promise<void>

  /**
   * Does the same, with the sandbox of the task and its files.
   *
   * @throws {DaytonaTimeoutError} after `timeout` seconds, 60 unless given
   */
  destroy(options?: CallOptions): Promise<void>

  /** The same as {@link TerminalBackend.close}. */
  [Symbol.asyncDispose](): Promise<void>
}
