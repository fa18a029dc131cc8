import type { CallOptions } from './call.js'

/** Languages that there are language servers for. */
export declare enum LspLanguageId {
  PYTHON = 'python',
  TYPESCRIPT = 'typescript',
  JAVASCRIPT = 'javascript',
}

/** A place in a file. */
export type Position = {
  /** From 0. */
  line: number
  /** From 0, in UTF-16 units. */
  character: number
}

/** A stretch of a file. */
export interface LspRange {
  /** The first place of it. */
  start: Position
  /** The first place after it. */
  end: Position
}

/** A stretch of some file. */
export interface LspLocation {
  /** `file://` and a path. */
  uri: string
  /** Where in it. */
  range: LspRange
}

/** A name that a program defines. */
export interface LspSymbol {
  /** `SymbolKind` of the language server protocol: 5 is a class, 12 a function, 13 a variable. */
  kind: number
  /** Where it is defined. */
  location: LspLocation
  /** The name. */
  name: string
}

/** One completion. */
export interface CompletionItem {
  /** Such as a signature. */
  detail?: string
  /** With `kind` (`plaintext` or `markdown`) and `value`. */
  documentation?: object
  /** What to filter by; the label if there is none. */
  filterText?: string
  /** What to insert; the label if there is none. */
  insertText?: string
  /** `CompletionItemKind` of the language server protocol: 2 is a method, 3 a function, 6 a variable. */
  kind?: number
  /** What is shown. */
  label: string
  /** What to sort by; the label if there is none. */
  sortText?: string
}

/** What may come. */
export interface CompletionList {
  /** More typing may bring others. */
  isIncomplete: boolean
  /** In the language server's order. */
  items: CompletionItem[]
}

/**
 * The language server of one project, from {@link Sandbox.createLspServer}. Relative paths of files start from the
 * project. Everything but `start` and `stop` throws a {@link DaytonaLspServerNotInitializedError} if it does not run.
 */
export declare class LspServer {
  private constructor()

  /**
   * Starts it and waits until it is ready, 3 minutes at most unless `timeout` or the client says otherwise; fine if it runs.
   *
   * @throws {DaytonaServiceUnavailableError} if it is not installed in the sandbox; the message says how to
   */
  start(options?: CallOptions): Promise<void>

  /**
   * Stops it and all that it has started; fine if it does not run.
   */
  stop(options?: CallOptions): Promise<void>

  /**
   * Tells it that a file is being worked on; call it again when the file has changed.
   *
   * @throws {DaytonaFileNotFoundError} if there is no such file
   */
  didOpen(path: string, options?: CallOptions): Promise<void>

  /**
   * Tells it that a file is not being worked on any more.
   */
  didClose(path: string, options?: CallOptions): Promise<void>

  /**
   * What a file defines, outer symbols before what is in them.
   */
  documentSymbols(path: string, options?: CallOptions): Promise<LspSymbol[]>

  /**
   * @deprecated Use `sandboxSymbols`.
   */
  workspaceSymbols(query: string, options?: CallOptions): Promise<LspSymbol[]>

  /**
   * What the whole project defines, by a part of the name.
   *
   * @throws {DaytonaUnsupportedError} if this language server cannot do that
   */
  sandboxSymbols(query: string, options?: CallOptions): Promise<LspSymbol[]>

  /**
   * What may come at a place in a file.
   */
  completions(path: string, position: Position, options?: CallOptions): Promise<CompletionList>
}
