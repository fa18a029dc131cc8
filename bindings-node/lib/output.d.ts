/// <reference types="node" />

/** A piece of the output of a command. */
export declare class OutputChunk {
  private constructor()
  /** Where it was written. */
  readonly stream: 'stdout' | 'stderr'
  /**
   * The text. A character that was split between two pieces is in the later one, whole; bytes that are
   * no UTF-8 become U+FFFD.
   */
  readonly text: string
  /** The bytes, as they were written. */
  readonly data: Buffer
}
