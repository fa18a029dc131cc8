import type { CallOptions } from './call.js'
import type { Chart } from './chart.js'
import type { ExecStream } from './exec_stream.js'
import type { PtyConnectOptions, PtyCreateOptions, PtyHandle, PtyReconnectOptions, PtySessionInfo } from './pty.js'
import type {
  Command,
  LogStream,
  Session,
  SessionCommandLogsResponse,
  SessionExecuteRequest,
  SessionExecuteResponse,
} from './session.js'

/** What precedes bytes of stdout in the log of a session's command, on the wire. */
export declare const STDOUT_PREFIX_BYTES: Uint8Array
/** What precedes bytes of stderr in the log of a session's command, on the wire. */
export declare const STDERR_PREFIX_BYTES: Uint8Array
/** The length of either. */
export declare const MAX_PREFIX_LEN: number

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

  /**
   * Runs a line in the sandbox's shell, with stdout and stderr apart and as they come, and with a stdin.
   *
   * @param cwd      working directory; the sandbox's by default
   * @param env      added to the sandbox's environment
   * @param timeout  seconds after which the command is killed, rounded up; 0, and none, is no limit
   * @param options  `signal` ends the command too when it aborts
   * @throws {DaytonaInvalidArgumentError} for a blank command or a bad variable name
   */
  executeCommandStream(
    command: string,
    cwd?: string,
    env?: Record<string, string>,
    timeout?: number,
    options?: CallOptions,
  ): Promise<ExecStream>

  /**
   * Starts a shell that runs commands one after another and keeps its state.
   *
   * @param sessionId  unique in the sandbox
   * @throws {DaytonaConflictError} if there is such a session
   */
  createSession(sessionId: string, options?: CallOptions): Promise<void>

  /**
   * A session and its commands.
   *
   * @throws {DaytonaNotFoundError}
   */
  getSession(sessionId: string, options?: CallOptions): Promise<Session>

  /**
   * The session that runs the image's entrypoint.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  getEntrypointSession(options?: CallOptions): Promise<Session>

  /** All sessions but the one of the entrypoint. */
  listSessions(options?: CallOptions): Promise<Session[]>

  /**
   * Ends a session and everything that runs in it.
   *
   * @throws {DaytonaNotFoundError}
   */
  deleteSession(sessionId: string, options?: CallOptions): Promise<void>

  /**
   * Runs a command in a session, and waits for its end unless `runAsync` is set. Without `runAsync` its stdin is
   * empty.
   *
   * @param timeout  seconds to wait for the answer; 0 is no limit. The command runs on
   * @throws {DaytonaNotFoundError} if there is no such session
   * @throws {DaytonaSessionEndedError} if its shell has ended, or runs nothing any more after the command
   */
  executeSessionCommand(
    sessionId: string,
    req: SessionExecuteRequest,
    timeout?: number,
    options?: CallOptions,
  ): Promise<SessionExecuteResponse>

  /**
   * A command of a session, with its exit code once it has ended.
   *
   * @throws {DaytonaNotFoundError}
   */
  getSessionCommand(sessionId: string, commandId: string, options?: CallOptions): Promise<Command>

  /**
   * What a command has written so far.
   *
   * @throws {DaytonaNotFoundError}
   */
  getSessionCommandLogs(
    sessionId: string,
    commandId: string,
    options?: CallOptions,
  ): Promise<SessionCommandLogsResponse>

  /**
   * Hands over what a command has written and writes, until it ends. A promise that a function gives is
   * waited for; an error that it throws ends the call.
   *
   * @throws {DaytonaNotFoundError}
   * @throws {DaytonaConnectionError} when the connection breaks
   */
  getSessionCommandLogs(
    sessionId: string,
    commandId: string,
    onStdout: ((chunk: string) => void) | undefined,
    onStderr: ((chunk: string) => void) | undefined,
    options?: Pick<CallOptions, 'signal'>,
  ): Promise<void>

  /**
   * The same as an iterable.
   *
   * @param options  `signal` ends the stream too when it aborts
   * @throws {DaytonaNotFoundError}
   */
  followSessionCommandLogs(
    sessionId: string,
    commandId: string,
    options?: Pick<CallOptions, 'signal'>,
  ): Promise<LogStream>

  /** What the image's entrypoint has written so far. */
  getEntrypointLogs(options?: CallOptions): Promise<SessionCommandLogsResponse>

  /** Hands over what the image's entrypoint has written and writes, until it ends. */
  getEntrypointLogs(
    onStdout: ((chunk: string) => void) | undefined,
    onStderr: ((chunk: string) => void) | undefined,
    options?: Pick<CallOptions, 'signal'>,
  ): Promise<void>

  /** The same as an iterable. */
  followEntrypointLogs(options?: Pick<CallOptions, 'signal'>): Promise<LogStream>

  /**
   * Writes to the stdin of a command that was started with `runAsync`. A newline is added where there is none at the end.
   *
   * @throws {DaytonaNotFoundError}
   * @throws {DaytonaCommandAlreadyCompletedError} when it has ended
   * @throws {DaytonaValidationError} when it was started without `runAsync`
   */
  sendSessionCommandInput(sessionId: string, commandId: string, data: string, options?: CallOptions): Promise<void>

  /**
   * Starts a shell in a terminal and connects to it.
   *
   * @param callOptions  `signal` gives up to connect
   * @throws {DaytonaInvalidArgumentError} for a bad size or variable name
   * @throws {DaytonaConflictError} if there is a terminal with this id
   * @throws {DaytonaTimeoutError} if it is not there after 10 seconds
   */
  createPty(
    options?: PtyCreateOptions & PtyConnectOptions,
    callOptions?: Pick<CallOptions, 'signal'>,
  ): Promise<PtyHandle>

  /**
   * Connects to a terminal that is there already.
   *
   * @throws {DaytonaNotFoundError}
   */
  connectPty(
    sessionId: string,
    options?: PtyReconnectOptions,
    callOptions?: Pick<CallOptions, 'signal'>,
  ): Promise<PtyHandle>

  /** All terminals. */
  listPtySessions(options?: CallOptions): Promise<PtySessionInfo[]>

  /**
   * What the server says of a terminal.
   *
   * @throws {DaytonaNotFoundError}
   */
  getPtySessionInfo(sessionId: string, options?: CallOptions): Promise<PtySessionInfo>

  /**
   * Kills the shell of a terminal, and everything in it.
   *
   * @throws {DaytonaNotFoundError}
   */
  killPtySession(sessionId: string, options?: CallOptions): Promise<void>

  /**
   * Changes the size of a terminal.
   *
   * @param cols  1 to 1000
   * @param rows  1 to 1000
   * @throws {DaytonaNotFoundError}
   */
  resizePtySession(sessionId: string, cols: number, rows: number, options?: CallOptions): Promise<PtySessionInfo>
}
