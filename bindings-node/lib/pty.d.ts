/// <reference types="node" />

import type { CallOptions } from './call.js'

/** What a new terminal is to be like. */
export interface PtyCreateOptions {
  /** Unique in the sandbox. */
  id: string
  /** Where its shell starts; the sandbox's work directory by default. */
  cwd?: string
  /** Added to the sandbox's environment. */
  envs?: Record<string, string>
  /** Columns, 1 to 1000. Default 80. */
  cols?: number
  /** Rows, 1 to 1000. Default 24. */
  rows?: number
}

/** How to use a terminal. */
export interface PtyConnectOptions {
  /**
   * Called with the output as it comes, one piece after another; a promise is waited for. An error that
   * it throws ends the connection. Without it the handle is iterated.
   */
  onData?: (data: Uint8Array) => void | Promise<void>
}

/** How to connect to a terminal that is there already. */
export interface PtyReconnectOptions extends PtyConnectOptions {
  /** Begin with what the terminal has shown lately. */
  replay?: boolean
}

/** How a terminal ended. */
export interface PtyResult {
  /** Of its shell. */
  exitCode?: number
  /** Why it ended, where that is not said by its code alone. */
  error?: string
}

/** What the server says of a terminal. */
export interface PtySessionInfo {
  /** The id it was created with. */
  id: string
  /** Its shell runs. */
  active: boolean
  /** Columns. */
  cols: number
  /** Rows. */
  rows: number
  /** RFC 3339. */
  createdAt: string
  /** Where its shell was started. */
  cwd: string
  /** What was added to the environment. */
  envs: Record<string, string>
  /** The shell is started when the first client connects. */
  lazyStart: boolean
}

/**
 * A connection to a terminal. With `onData` the process runs on until the connection ends, as it does
 * during a loop or a call.
 *
 * @example
 * const terminal = await sandbox.process.createPty({ id: 'main', onData: (data) => process.stdout.write(data) })
 * await terminal.sendInput('uname -a; exit\n')
 * const { exitCode } = await terminal.wait()
 */
export declare class PtyHandle implements AsyncIterable<Buffer>, AsyncDisposable {
  private constructor()

  /** The id of the terminal. */
  get sessionId(): string
  /** Of its shell; none while it runs. */
  get exitCode(): number | undefined
  /** Why it ended, or what went wrong. */
  get error(): string | undefined

  /** Whether input can be sent. */
  isConnected(): boolean

  /**
   * Waits until the terminal is ready. {@link Process.createPty} and {@link Process.connectPty} have
   * done so already.
   *
   * @param options  `timeout` is 10 seconds by default
   * @throws {DaytonaTimeoutError}
   * @throws {DaytonaConnectionError}
   */
  waitForConnection(options?: CallOptions): Promise<void>

  /**
   * Types into the terminal: a string as UTF-8.
   *
   * @throws {DaytonaConnectionError} when it is not connected
   */
  sendInput(data: string | Uint8Array, options?: Pick<CallOptions, 'signal'>): Promise<void>

  /**
   * Changes the terminal's size.
   *
   * @param cols  1 to 1000
   * @param rows  1 to 1000
   */
  resize(cols: number, rows: number, options?: Pick<CallOptions, 'signal'>): Promise<PtySessionInfo>

  /**
   * Waits for the end of its shell. All output has been handed to `onData` before; without that, output
   * that no loop takes is lost.
   *
   * @param options  `timeout` is none by default
   * @throws {DaytonaTimeoutError} when it runs on
   */
  wait(options?: CallOptions): Promise<PtyResult>

  /** Kills the shell and everything in the terminal. */
  kill(options?: Pick<CallOptions, 'signal'>): Promise<void>

  /** Closes the connection; the shell runs on. */
  disconnect(): Promise<void>

  /** The output that nobody has taken yet, as it comes. Leaving the loop does not close the connection. */
  [Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined>

  /** The same as {@link PtyHandle.disconnect}. */
  [Symbol.asyncDispose](): Promise<void>
}
