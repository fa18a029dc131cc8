import type { OutputChunk } from './output.js'

/** A command of a session. */
export interface Command {
  /** Chosen by the server. */
  id: string
  /** As it was sent. */
  command: string
  /** None while it runs. */
  exitCode?: number
}

/** A shell that runs commands one after another and keeps its state. */
export interface Session {
  /** The id it was created with. */
  sessionId: string
  /** Its commands, oldest first. */
  commands: Command[]
}

/** What a session is to run. */
export interface SessionExecuteRequest {
  /** One or more lines for the shell. */
  command: string
  /** Answer with the command's id as soon as it runs, instead of at its end. */
  runAsync?: boolean
  /** @deprecated Use `runAsync`. */
  async?: boolean
  /** Keep what is sent to its stdin out of its log. */
  suppressInputEcho?: boolean
}

/** How a command of a session went. */
export interface SessionExecuteResponse {
  /** The command's id. */
  cmdId: string
  /** stdout and stderr, merged; none if it runs on. */
  output?: string
  /** stdout alone; empty if it runs on. */
  stdout?: string
  /** stderr alone; empty if it runs on. */
  stderr?: string
  /** None if it runs on. */
  exitCode?: number
}

/** What a command has written so far. */
export interface SessionCommandLogsResponse {
  /** stdout and stderr, merged. */
  output?: string
  /** stdout alone. */
  stdout?: string
  /** stderr alone. */
  stderr?: string
}

/**
 * A log that is followed: what was written so far, then the rest as it is written, until the command
 * ends. Leaving the loop, `close`, and losing the last reference to it close its connection; the
 * command runs on.
 *
 * @example
 * for await (const { stream, text } of await sandbox.process.followSessionCommandLogs(session, command)) {
 *   process[stream].write(text)
 * }
 */
export declare class LogStream implements AsyncIterable<OutputChunk>, AsyncDisposable {
  private constructor()

  /**
   * The pieces that nobody has taken yet.
   *
   * @throws {DaytonaConnectionError} from the loop, when the connection breaks
   * @throws {DaytonaSandboxDiedError} from the loop, when the sandbox ends
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<OutputChunk>

  /** Ends it early. */
  close(): void

  /** The same as {@link LogStream.close}. */
  [Symbol.asyncDispose](): Promise<void>
}
