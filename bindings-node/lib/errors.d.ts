/** The control plane, as {@link DaytonaError.source}. */
export declare const SOURCE_API = 'DAYTONA_API'
/** The agent in the sandbox, as {@link DaytonaError.source}. */
export declare const SOURCE_DAEMON = 'DAYTONA_DAEMON'
/** The proxy between the two, as {@link DaytonaError.source}. */
export declare const SOURCE_PROXY = 'DAYTONA_PROXY'

/** The headers of an answer, by lower-case name. */
export interface ResponseHeaders {
  /** The value of a header, whatever the case of its name. */
  get(name: string): string | undefined
  /** Whether there is such a header. */
  has(name: string): boolean
  [name: string]: unknown
}

/** What every failure is an instance of. Its `cause` is what lies beneath, where there is something. */
export declare class DaytonaError extends Error {
  /** Status of the answer; none if there was no answer. */
  statusCode?: number
  /** Stable name that the server gave the error: `FILE_NOT_FOUND`. */
  code?: string
  /** The service that failed. */
  readonly source?: string
  /** Headers of the answer. */
  headers?: ResponseHeaders
  /** The id under which the server logged the request. */
  requestId?: string
  /** The operation that failed: `process.exec`. */
  operation?: string
  /** How often the request was sent. */
  attempts?: number
  /** The sandbox that a call made, or meant, before it failed. */
  sandboxId?: string
  constructor(message: string, statusCode?: number, headers?: ResponseHeaders, code?: string, source?: string)
  /** @deprecated Use `code`. */
  get errorCode(): string | undefined
}

/** 400: the server refused the content of the request. */
export declare class DaytonaBadRequestError extends DaytonaError {}

/**
 * 400, and what this client refuses itself.
 *
 * @deprecated Use {@link DaytonaBadRequestError} or {@link DaytonaInvalidArgumentError}.
 */
export declare class DaytonaValidationError extends DaytonaBadRequestError {}

/** Refused by this client, before anything was sent. */
export declare class DaytonaInvalidArgumentError extends DaytonaValidationError {}

/** 401: no or wrong credentials. */
export declare class DaytonaAuthenticationError extends DaytonaError {}

/** 403: not allowed. */
export declare class DaytonaForbiddenError extends DaytonaError {}

/**
 * 403.
 *
 * @deprecated Use {@link DaytonaForbiddenError}.
 */
export declare class DaytonaAuthorizationError extends DaytonaForbiddenError {}

/** 404: no such thing. */
export declare class DaytonaNotFoundError extends DaytonaError {}

/** 408, 504, and time limits of this client. {@link DaytonaConnectionTimeoutError} is an instance too. */
export declare class DaytonaTimeoutError extends DaytonaError {
  static [Symbol.hasInstance](value: unknown): boolean
}

/** 409: not in this state, or the name is taken. */
export declare class DaytonaConflictError extends DaytonaError {}

/** 410: was there, is over. */
export declare class DaytonaGoneError extends DaytonaError {}

/** 422: understood, cannot be done. */
export declare class DaytonaUnprocessableEntityError extends DaytonaError {}

/** 429: too many requests. */
export declare class DaytonaRateLimitError extends DaytonaError {}

/** 500: the server failed. */
export declare class DaytonaInternalServerError extends DaytonaError {}

/** 501: this server cannot do that. */
export declare class DaytonaUnsupportedError extends DaytonaError {}

/** 502: what stands behind the server failed. */
export declare class DaytonaBadGatewayError extends DaytonaError {}

/** 503: not now. */
export declare class DaytonaServiceUnavailableError extends DaytonaError {}

/** The connection could not be made, or broke. */
export declare class DaytonaConnectionError extends DaytonaError {}

/** No answer in time. */
export declare class DaytonaConnectionTimeoutError extends DaytonaConnectionError {}

/** The answer is longer than what this client holds in memory. */
export declare class DaytonaResponseTooLargeError extends DaytonaError {}

/** The sandbox stopped, was deleted or died while the call was under way. */
export declare class DaytonaSandboxDiedError extends DaytonaConnectionError {}

/** The sandbox waited too long for capacity. */
export declare class DaytonaQueueTimeoutError extends DaytonaTimeoutError {}

/** The image of a sandbox or a snapshot could not be built. */
export declare class DaytonaBuildFailedError extends DaytonaError {}

/** The provider took the sandbox back. */
export declare class DaytonaSpotEvictedError extends DaytonaError {}

/** Wrong credentials for a git remote. */
export declare class DaytonaGitAuthFailedError extends DaytonaAuthenticationError {}

/** No git repository there. */
export declare class DaytonaGitRepoNotFoundError extends DaytonaNotFoundError {}

/** No such branch. */
export declare class DaytonaGitBranchNotFoundError extends DaytonaNotFoundError {}

/** The branch is there already. */
export declare class DaytonaGitBranchExistsError extends DaytonaConflictError {}

/** The remote has commits that are missing here. */
export declare class DaytonaGitPushRejectedError extends DaytonaConflictError {}

/** Uncommitted changes are in the way. */
export declare class DaytonaGitDirtyWorktreeError extends DaytonaConflictError {}

/** The histories conflict. */
export declare class DaytonaGitMergeConflictError extends DaytonaConflictError {}

/** The git remote is not in reach. */
export declare class DaytonaGitTransportFailedError extends DaytonaBadGatewayError {}

/** The git remote refused. */
export declare class DaytonaGitRemoteRejectedError extends DaytonaUnprocessableEntityError {}

/** No such file. */
export declare class DaytonaFileNotFoundError extends DaytonaNotFoundError {}

/** The sandbox's user may not do that to this file. */
export declare class DaytonaFileAccessDeniedError extends DaytonaForbiddenError {}

/** Not a usable path. */
export declare class DaytonaInvalidFilePathError extends DaytonaBadRequestError {}

/** The file is there and could not be read. */
export declare class DaytonaFileReadFailedError extends DaytonaInternalServerError {}

/** The language server was used before it was started. */
export declare class DaytonaLspServerNotInitializedError extends DaytonaBadRequestError {}

/** The command ran over its time limit and was killed. */
export declare class DaytonaProcessExecutionTimeoutError extends DaytonaTimeoutError {}

/** No such process, session or command. */
export declare class DaytonaProcessNotFoundError extends DaytonaNotFoundError {}

/** The session's shell has ended. */
export declare class DaytonaSessionEndedError extends DaytonaGoneError {}

/** The command takes no input any more. */
export declare class DaytonaCommandAlreadyCompletedError extends DaytonaGoneError {}

/** No accessibility service in the sandbox. */
export declare class DaytonaA11yUnavailableError extends DaytonaServiceUnavailableError {}

/** The recording has to be stopped first. */
export declare class DaytonaRecordingStillActiveError extends DaytonaConflictError {}

/** ffmpeg is not installed in the sandbox. */
export declare class DaytonaRecordingFfmpegNotFoundError extends DaytonaServiceUnavailableError {}
