/** What every call takes beside its own parameters. */
export interface CallOptions {
  /**
   * Ends the call when it aborts: the request is dropped, the connection closed, and the promise
   * rejects with the signal's reason. A signal that has aborted before ends the call unsent.
   */
  signal?: AbortSignal
  /** Time limit in seconds; 0 is none. A positional `timeout` goes first. */
  timeout?: number
}
