'use strict'

const { call, calls, result } = require('./call')
const { native, serverBinary } = require('./native')
const { invalid, toError } = require('./errors')
const { Api } = require('./api')
const { finishAtExit } = require('./at_exit')
const { imageOf } = require('./image')
const { Sandbox } = require('./sandbox')
const { SnapshotService, finishWithLogs, uploadReport } = require('./snapshot')
const { SecretService } = require('./secret')
const telemetry = require('./telemetry')
const { VolumeService } = require('./volume')
const { WarmPoolService } = require('./warm_pool')
const { callback, json, limit, optionalMembers, signalOptions, text } = require('./arguments')
const shapes = require('./shapes')

/** Where `Daytona.local` puts what is no part of the configuration. */
const dataDir = Symbol('dataDir')
const runtime = Symbol('runtime')

function environment() {
  const names = Object.keys(process.env).filter((name) => name.startsWith('DAYTONA_'))
  return Object.fromEntries(names.map((name) => [name, process.env[name]]))
}

/** What the caller has written, and what `local` adds to it. */
function configured(config) {
  return optionalMembers('config', config, shapes.DaytonaConfig)
}

function settings(config) {
  return json({
    apiKey: config.apiKey,
    jwtToken: config.jwtToken,
    organizationId: config.organizationId,
    apiUrl: config.apiUrl || config.serverUrl,
    target: config.target,
    otelEnabled: config.otelEnabled ?? config._experimental?.otelEnabled,
    useDeprecatedPolling: config.useDeprecatedPolling,
    requestTimeoutMs: config.requestTimeoutMs,
    maxResponseBytes: config.maxResponseBytes,
    dataDir: config[dataDir],
    runtime: config[runtime],
    serverBinary,
    environment: environment(),
  })
}

function sandboxOf(options) {
  return { convert: (handle, data) => new Sandbox(handle, JSON.parse(data)), signal: options?.signal }
}

function sandboxGiven(sandbox) {
  // Of another copy of this package it may be, too.
  if (typeof sandbox?.refreshData !== 'function') {
    throw invalid('sandbox must be a Sandbox, as create, get and list give it')
  }
  return sandbox
}

function warn(warnings) {
  for (const { deprecation, message } of warnings) {
    process.emitWarning(message, deprecation ? 'DeprecationWarning' : 'DaytonaWarning')
  }
}

let nativeOf

class Daytona {
  #native
  #snapshot
  #told = false

  static {
    nativeOf = (daytona) => {
      if (!(#native in Object(daytona))) throw invalid('daytona must be a Daytona')
      return daytona.#native
    }
  }

  constructor(config) {
    const made = native.newClient(calls, settings(configured(config)))
    if (typeof made === 'string') throw toError(made)
    this.#native = made
    finishAtExit()
    this.api = new Api(made)
    this.secret = new SecretService(made)
    this.volume = new VolumeService(made)
    this.warmPool = new WarmPoolService(made)
    if (made.isObserved()) telemetry.turnOn()
    warn(made.warnings())
  }

  /** Tells the user what there is to know of the server that a call has reached. */
  #tell() {
    if (this.#told) return
    const notices = this.#native.notices()
    if (!notices) return
    this.#told = true
    warn(notices)
  }

  static local(options) {
    const { dataDir: directory, runtime: wanted, ...config } = optionalMembers('options', options, shapes.LocalOptions)
    return new this({
      ...config,
      apiUrl: 'local',
      [dataDir]: directory == null ? undefined : text('dataDir', directory),
      [runtime]: wanted == null ? undefined : text('runtime', wanted),
    })
  }

  async runtime(options) {
    signalOptions(options)
    const told = { convert: (data) => JSON.parse(data) ?? undefined, signal: options?.signal }
    const name = result(await call((id) => this.#native.runtime(id), told))
    this.#tell()
    return name
  }

  get snapshot() {
    return (this.#snapshot ??= new SnapshotService(this.#native))
  }

  async create(params, options) {
    const { user, resources, ...rest } = optionalMembers('params', params, shapes.CreateSandboxParams)
    const gpuType = resources?.gpuType
    const paramsText = json({
      ...rest,
      osUser: user,
      image: imageOf(rest.image),
      resources: gpuType == null ? resources : { ...resources, gpuType: [gpuType].flat() },
    })
    const seconds = typeof options === 'number' ? options : limit(undefined, options, shapes.CreateSandboxOptions)
    const onLogs = callback('onSnapshotCreateLogs', options?.onSnapshotCreateLogs)
    const upload = uploadReport(options)
    const start = { ...upload, signal: options?.signal }
    if (!onLogs) {
      const made = { ...sandboxOf(options), ...upload }
      const sandbox = result(
        await call((id) => this.#native.create(id, paramsText, seconds, Boolean(upload.onProgress)), made),
      )
      this.#tell()
      return sandbox
    }
    const creation = result(
      await call((id) => this.#native.beginCreate(id, paramsText, seconds, Boolean(upload.onProgress)), start),
    )
    this.#tell()
    return await finishWithLogs(creation, onLogs, sandboxOf(options))
  }

  async get(sandboxIdOrName, options) {
    text('sandboxIdOrName', sandboxIdOrName)
    const seconds = limit(undefined, options)
    const sandbox = result(await call((id) => this.#native.get(id, sandboxIdOrName, seconds), sandboxOf(options)))
    this.#tell()
    return sandbox
  }

  async *list(query, options) {
    const queryText = json(optionalMembers('query', query, shapes.ListSandboxesQuery))
    const seconds = limit(undefined, options)
    const convert = (handles, page) => {
      const { items, nextCursor } = JSON.parse(page)
      return { sandboxes: items.map((data, index) => new Sandbox(handles[index], data)), nextCursor }
    }
    let cursor
    do {
      const page = result(
        await call((id) => this.#native.list(id, queryText, cursor, seconds), {
          convert,
          signal: options?.signal,
        }),
      )
      this.#tell()
      yield* page.sandboxes
      cursor = page.nextCursor
    } while (cursor)
  }

  async start(sandbox, timeout, options) {
    return await sandboxGiven(sandbox).start(timeout, options)
  }

  async stop(sandbox, options) {
    return await sandboxGiven(sandbox).stop(undefined, false, options)
  }

  async delete(sandbox, timeout, wait, options) {
    return await sandboxGiven(sandbox).delete(timeout, wait, options)
  }

  async fork(sandbox, params, timeout, options) {
    return await sandboxGiven(sandbox).fork(params, timeout, options)
  }

  async _experimental_fork(sandbox, params, timeout, options) {
    return await sandboxGiven(sandbox).fork(params, timeout, options)
  }

  /** Nothing has to be released: connections and the local server end with the process. */
  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    if (this.#native.isObserved()) result(await call((id) => this.#native.flush(id)))
  }
}

module.exports = { Daytona, nativeOf, settings }
