import type { CallOptions } from './call.js'

/** Arguments and environment of a program. */
export declare class CodeRunParams {
  /** Arguments, each passed whole. */
  argv?: string[]
  /** Added to the sandbox's environment. */
  env?: Record<string, string>
}

/** What else a command or program left. */
export interface ExecutionArtifacts {
  /** The same as `result`. */
  stdout: string
  /** Charts that a program drew. */
  charts?: Chart[]
}

/** A chart that a program drew. */
export interface Chart {
  type?: string
  title?: string
  /** The picture, in base64. */
  png?: string
  elements?: unknown[]
}

/** How a command or program ended. */
export interface ExecuteResponse {
  /** Exit code; -1 if it could not be started, 128 + n if signal n ended it. */
  exitCode: number
  /** stdout and stderr, merged. */
  result: string
  /** What else it left. */
  artifacts?: ExecutionArtifacts
}

/** Runs commands and programs in one sandbox. */
export declare class Process {
  private constructor()

  /**
   * Runs a line in the sandbox's shell. A failing command is no error: see `exitCode`.
   *
   * @param cwd      working directory; the sandbox's by default
   * @param env      added to the sandbox's environment
   * @param timeout  seconds after which the command is killed, rounded up; 0 is no limit. Without one
   *                 the answer is waited for as long as the client's `requestTimeoutMs`, or an hour
   * @throws {DaytonaInvalidArgumentError} for a blank command or a bad variable name
   * @throws {DaytonaTimeoutError} when the command ran over its limit
   */
  executeCommand(
    command: string,
    cwd?: string,
    env?: Record<string, string>,
    timeout?: number,
    options?: CallOptions,
  ): Promise<ExecuteResponse>

  /**
   * Runs a whole program in the sandbox's language.
   *
   * @param timeout  as for {@link Process.executeCommand}
   * @throws {DaytonaInvalidArgumentError} for a bad variable name
   * @throws {DaytonaTimeoutError} when the program ran over its limit
   */
  codeRun(code: string, params?: CodeRunParams, timeout?: number, options?: CallOptions): Promise<ExecuteResponse>
}
