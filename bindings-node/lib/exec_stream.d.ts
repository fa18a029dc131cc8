import type { CallOptions } from './call.js'
import type { OutputChunk } from './output.js'

/**
 * A command that runs, with its output as it comes and its stdin open. It outlives a broken
 * connection: the client connects again and goes on from the last byte it has. A command whose output
 * nobody takes waits once a mebibyte of it is there.
 *
 * Closing it, or losing the last reference to it, kills the command. Leaving a loop over it does not:
 * the next loop, or `wait`, goes on from there.
 *
 * @example
 * await using command = await sandbox.process.executeCommandStream('make test')
 * for await (const { stream, text } of command) process[stream].write(text)
 * console.log('exit code', await command.wait())
 */
export declare class ExecStream implements AsyncIterable<OutputChunk>, AsyncDisposable {
  private constructor()

  /** None while it runs. 128 + n if signal n ended it. */
  get exitCode(): number | undefined

  /**
   * The pieces that nobody has taken yet, until the command has ended.
   *
   * @throws {DaytonaProcessExecutionTimeoutError} from the loop, when it ran over its limit
   * @throws {DaytonaSandboxDiedError} from the loop, when the sandbox ends
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<OutputChunk>

  /**
   * Waits for the command's end and gives its exit code. Output that nobody takes meanwhile is lost.
   *
   * @throws {DaytonaProcessExecutionTimeoutError} when it ran over its limit
   * @throws {DaytonaSandboxDiedError} when the sandbox ends
   */
  wait(options?: Pick<CallOptions, 'signal'>): Promise<number>

  /**
   * Writes to the command's stdin, a string as UTF-8. Ends when the piece is on its way: while the
   * command reads slower than this writes, it waits.
   *
   * @throws {DaytonaError} when stdin is closed
   */
  writeStdin(data: string | Uint8Array | ArrayBuffer, options?: Pick<CallOptions, 'signal'>): Promise<void>

  /** Closes the command's stdin after all that was written. */
  closeStdin(options?: Pick<CallOptions, 'signal'>): Promise<void>

  /**
   * Sends a signal to the command and its children.
   *
   * @param name  `SIGINT`, `INT` or `2`
   * @throws {DaytonaInvalidArgumentError} for a signal that does not exist
   * @throws {DaytonaUnsupportedError} where the server can only end commands
   */
  signal(name: string | number, options?: Pick<CallOptions, 'signal'>): Promise<void>

  /** Sends SIGKILL. */
  kill(options?: Pick<CallOptions, 'signal'>): Promise<void>

  /** Gives the command up: it is killed. */
  close(): void

  /** The same as {@link ExecStream.close}. */
  [Symbol.asyncDispose](): Promise<void>
}
