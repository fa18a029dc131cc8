import type { Sandbox } from 'daytona-native'

/** How a command ended. */
export interface ShellResult {
  /** What it wrote to stdout. */
  stdout: string
  /** What it wrote to stderr. */
  stderr: string
  /** 128 + n if signal n ended it, 124 if it ran over its limit, 1 if it wrote more than 64 Mi characters. */
  exitCode: number
}

/** What is known of a path. A link is followed. */
export interface FileStat {
  /** It is a regular file. */
  isFile: boolean
  /** It is a folder. */
  isDirectory: boolean
  /** Bytes. */
  size?: number
  /** When it was changed. */
  mtime?: Date
}

/** How to run a command. */
export interface ExecOptions {
  /** Working directory; the sandbox's work directory, or the agent's `cwd`, by default. */
  cwd?: string
  /** Added to the sandbox's environment. */
  env?: Record<string, string>
  /** Milliseconds after which the command is killed, rounded up to whole seconds. */
  timeoutMs?: number
  /** Kills the command in the sandbox when it aborts. */
  signal?: AbortSignal
}

/**
 * A sandbox as Flue uses it: `Sandbox` of Flue 2, `SessionEnv` of Flue 1. Relative paths start from `cwd`. A call that is
 * under way when the sandbox ends rejects with Flue's `SandboxDiedError`; before Flue 2, with `DaytonaSandboxDiedError`.
 */
export interface FlueSandbox {
  exec(command: string, options?: ExecOptions): Promise<ShellResult>
  readFile(path: string): Promise<string>
  readFileBuffer(path: string): Promise<Uint8Array>
  /** Missing folders are made. */
  writeFile(path: string, content: string | Uint8Array): Promise<void>
  stat(path: string): Promise<FileStat>
  /** Names, sorted. */
  readdir(path: string): Promise<string[]>
  exists(path: string): Promise<boolean>
  /** @param options  `recursive` makes parents too, and takes a folder that is there */
  mkdir(path: string, options?: { recursive?: boolean }): Promise<void>
  /** @param options  `recursive` deletes a folder with all in it, `force` takes a path that is not there */
  rm(path: string, options?: { recursive?: boolean; force?: boolean }): Promise<void>
  /** The work directory. */
  cwd: string
  /** A path as an absolute one. */
  resolvePath(path: string): string
}

/** What `useSandbox()` of Flue 2 and the option `sandbox` of Flue 1 take. */
export interface FlueSandboxFactory {
  createSandbox(options: { id: string }): Promise<FlueSandbox>
  /** The same under its name in Flue 1. */
  createSessionEnv(options: { id: string }): Promise<FlueSandbox>
}

/** How to connect. */
export interface FlueOptions {
  /**
   * The module `@flue/runtime` (`await import('@flue/runtime')`), for package managers that let a package load its own
   * dependencies only.
   */
  runtime?: object
}

/**
 * Lets Flue agents work in a sandbox. The sandbox is yours: nothing here starts, stops or deletes it.
 *
 * @example
 * useSandbox({
 *   async createSandbox(options) {
 *     const sandbox = await new Daytona().create()
 *     return daytona(sandbox).createSandbox(options)
 *   },
 * })
 * @throws {TypeError} for anything but a sandbox of this package
 */
export declare function daytona(sandbox: Sandbox, options?: FlueOptions): FlueSandboxFactory
