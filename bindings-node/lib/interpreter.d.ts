import type { CallOptions } from './call.js'

/** A namespace of the interpreter, with a worker of its own. */
export interface InterpreterContext {
  /** Chosen by the server. */
  id: string
  /** Where its code runs. */
  cwd: string
  /** RFC 3339. */
  createdAt: string
  /** Its worker runs. */
  active: boolean
  /** Always `python`. */
  language: string
}

/** A piece of output. */
export interface OutputMessage {
  /** The text. */
  output: string
}

/** What the code raised. */
export interface ExecutionError {
  /** The exception's class: `ValueError`. */
  name: string
  /** The exception as text. */
  value: string
  /** As Python prints it. */
  traceback?: string
}

/** The value of the code's last expression, or something that it displayed. */
export declare class Result {
  private constructor()
  /** By MIME type: text, JSON values, or images in base64. Always has `text/plain`. */
  readonly data: Record<string, unknown>
  /** The value of the last expression, not a display on the way. */
  readonly isMain: boolean
  /** As `repr` writes it. */
  get text(): string | undefined
  /** As HTML, such as a table of data. */
  get html(): string | undefined
  /** As Markdown. */
  get markdown(): string | undefined
  /** The picture, in base64. */
  get png(): string | undefined
  /** The picture, in base64. */
  get jpeg(): string | undefined
  /** The picture, as text. */
  get svg(): string | undefined
  /** As JSON knows it, where it has such a form. */
  get json(): any
}

/** How code went. */
export interface ExecutionResult {
  /** All of stdout. */
  stdout: string
  /** All of stderr. */
  stderr: string
  /** What it raised. */
  error?: ExecutionError
  /** What it showed, where {@link RunCodeOptions.results} asks for it and the server knows how. */
  results?: Result[]
}

/** How to run code. */
export interface RunCodeOptions {
  /** Where; the default context by default. */
  context?: InterpreterContext
  /** In the environment while the code runs. */
  envs?: Record<string, string>
  /** Seconds; 0 is no limit. Default 600. */
  timeout?: number
  /** Called with each piece of stdout. A promise is waited for; an error ends the run. */
  onStdout?: (message: OutputMessage) => any | Promise<any>
  /** Called with each piece of stderr, in the same way. */
  onStderr?: (message: OutputMessage) => any | Promise<any>
  /** Called with what the code raises, in the same way. */
  onError?: (error: ExecutionError) => any | Promise<any>
  /** Called with each value that the code shows, in the same way. */
  onResult?: (result: Result) => any | Promise<any>
  /** Collect the values that the code shows. */
  results?: boolean
  /** Interrupts the code when it aborts, as Ctrl-C does; the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

/** Runs Python code that keeps its state from one run to the next. */
export declare class CodeInterpreter {
  private constructor()

  /**
   * Runs code. An exception of the code is no error: see {@link ExecutionResult.error}.
   *
   * @throws {DaytonaInvalidArgumentError} for blank code
   * @throws {DaytonaProcessExecutionTimeoutError} when it ran over its limit; the message says whether the state of its
   * context is kept or lost
   * @throws {DaytonaConnectionError} when the connection broke
   *
   * @example
   * await sandbox.codeInterpreter.runCode('x = 20')
   * const { stdout } = await sandbox.codeInterpreter.runCode('print(x + 22)')
   */
  runCode(code: string, options?: RunCodeOptions): Promise<ExecutionResult>

  /**
   * Makes a context, apart from all others.
   *
   * @param cwd  where its code runs; the sandbox's work directory by default
   */
  createContext(cwd?: string, options?: CallOptions): Promise<InterpreterContext>

  /** All contexts but the default one. */
  listContexts(options?: CallOptions): Promise<InterpreterContext[]>

  /**
   * Deletes a context and ends its worker.
   *
   * @throws {DaytonaNotFoundError}
   */
  deleteContext(context: InterpreterContext, options?: CallOptions): Promise<void>
}
