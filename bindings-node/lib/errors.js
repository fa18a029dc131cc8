'use strict'

const SOURCE_API = 'DAYTONA_API'
const SOURCE_DAEMON = 'DAYTONA_DAEMON'
const SOURCE_PROXY = 'DAYTONA_PROXY'

/** Headers by lower-case name, as properties and through `get`. */
class ResponseHeaders {
  constructor(headers) {
    Object.assign(this, headers)
  }

  get(name) {
    return this[String(name).toLowerCase()]
  }

  has(name) {
    return this.get(name) !== undefined
  }
}

class DaytonaError extends Error {
  constructor(message, statusCode, headers, code, source) {
    super(message)
    Object.defineProperty(this, 'name', { value: new.target.name, configurable: true, writable: true })
    const fields = { statusCode, headers, code, source }
    for (const name in fields) if (fields[name] !== undefined) this[name] = fields[name]
  }

  get errorCode() {
    return this.code
  }
}

/** Each class and the one it extends. `tests/node/errors.test.mjs` compares it with the core's table. */
const TABLE = {
  DaytonaBadRequestError: 'DaytonaError',
  DaytonaValidationError: 'DaytonaBadRequestError',
  DaytonaInvalidArgumentError: 'DaytonaValidationError',
  DaytonaAuthenticationError: 'DaytonaError',
  DaytonaForbiddenError: 'DaytonaError',
  DaytonaAuthorizationError: 'DaytonaForbiddenError',
  DaytonaNotFoundError: 'DaytonaError',
  DaytonaTimeoutError: 'DaytonaError',
  DaytonaConflictError: 'DaytonaError',
  DaytonaGoneError: 'DaytonaError',
  DaytonaUnprocessableEntityError: 'DaytonaError',
  DaytonaRateLimitError: 'DaytonaError',
  DaytonaInternalServerError: 'DaytonaError',
  DaytonaUnsupportedError: 'DaytonaError',
  DaytonaBadGatewayError: 'DaytonaError',
  DaytonaServiceUnavailableError: 'DaytonaError',
  DaytonaConnectionError: 'DaytonaError',
  DaytonaConnectionTimeoutError: 'DaytonaConnectionError',
  DaytonaResponseTooLargeError: 'DaytonaError',
  DaytonaSandboxDiedError: 'DaytonaConnectionError',
  DaytonaQueueTimeoutError: 'DaytonaTimeoutError',
  DaytonaBuildFailedError: 'DaytonaError',
  DaytonaSpotEvictedError: 'DaytonaError',
  DaytonaGitAuthFailedError: 'DaytonaAuthenticationError',
  DaytonaGitRepoNotFoundError: 'DaytonaNotFoundError',
  DaytonaGitBranchNotFoundError: 'DaytonaNotFoundError',
  DaytonaGitBranchExistsError: 'DaytonaConflictError',
  DaytonaGitPushRejectedError: 'DaytonaConflictError',
  DaytonaGitDirtyWorktreeError: 'DaytonaConflictError',
  DaytonaGitMergeConflictError: 'DaytonaConflictError',
  DaytonaGitTransportFailedError: 'DaytonaBadGatewayError',
  DaytonaGitRemoteRejectedError: 'DaytonaUnprocessableEntityError',
  DaytonaFileNotFoundError: 'DaytonaNotFoundError',
  DaytonaFileAccessDeniedError: 'DaytonaForbiddenError',
  DaytonaInvalidFilePathError: 'DaytonaBadRequestError',
  DaytonaFileReadFailedError: 'DaytonaInternalServerError',
  DaytonaLspServerNotInitializedError: 'DaytonaBadRequestError',
  DaytonaProcessExecutionTimeoutError: 'DaytonaTimeoutError',
  DaytonaProcessNotFoundError: 'DaytonaNotFoundError',
  DaytonaSessionEndedError: 'DaytonaGoneError',
  DaytonaCommandAlreadyCompletedError: 'DaytonaGoneError',
  DaytonaA11yUnavailableError: 'DaytonaServiceUnavailableError',
  DaytonaRecordingStillActiveError: 'DaytonaConflictError',
  DaytonaRecordingFfmpegNotFoundError: 'DaytonaServiceUnavailableError',
}

const classes = { DaytonaError }
for (const [name, parent] of Object.entries(TABLE)) {
  classes[name] = { [name]: class extends classes[parent] {} }[name]
}

// A connection that timed out is a timeout too, though it extends the connection errors.
Object.defineProperty(classes.DaytonaTimeoutError, Symbol.hasInstance, {
  value(value) {
    return (
      Function.prototype[Symbol.hasInstance].call(this, value) ||
      (this === classes.DaytonaTimeoutError && value instanceof classes.DaytonaConnectionTimeoutError)
    )
  },
})

/** What lies beneath an error, as a chain of causes. */
function chain(causes) {
  return causes.reduceRight((cause, message) => {
    const error = new Error(message, cause && { cause })
    error.stack = `Error: ${message}`
    return error
  }, undefined)
}

/** The error that the bridge describes in JSON. */
function toError(json) {
  const fields = JSON.parse(json)
  const type = classes[fields.name] ?? DaytonaError
  const optional = (value) => value ?? undefined
  const headers = fields.headers ? new ResponseHeaders(fields.headers) : undefined
  const error = new type(
    fields.message,
    optional(fields.statusCode),
    headers,
    optional(fields.code),
    optional(fields.source),
  )
  for (const name of ['requestId', 'operation', 'attempts', 'sandboxId']) {
    if (fields[name] !== null) error[name] = fields[name]
  }
  const cause = chain(fields.causes)
  if (cause) Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
  return error
}

function invalid(message) {
  return new classes.DaytonaInvalidArgumentError(message)
}

module.exports = { SOURCE_API, SOURCE_DAEMON, SOURCE_PROXY, classes, toError, invalid }
