'use strict'

const { finishAtExit } = require('./at_exit')
const { call, calls, result } = require('./call')
const { native } = require('./native')
const { toError } = require('./errors')
const { settings } = require('./daytona')
const { Service } = require('./service')
const { LogStream } = require('./session')
const { json, limit, object, optionalMembers, signalOptions } = require('./arguments')
const shapes = require('./shapes')

class SandboxProvider extends Service {
  #native

  constructor(pool, options) {
    const { apiKey } = optionalMembers('options', options, shapes.SandboxProviderOptions)
    const made = native.newProvider(calls, settings({ apiKey }), json(object('pool', pool)))
    if (typeof made === 'string') throw toError(made)
    super(made, 'sandbox_provider')
    this.#native = made
    finishAtExit()
  }

  static profile() {
    return JSON.parse(native.providerProfile())
  }

  get pool() {
    return JSON.parse(this.#native.pool())
  }

  async provision(spec, options) {
    const given = json(object('spec', spec))
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.provision(id, given, seconds), {
        convert: (handle) => JSON.parse(handle),
        signal: options?.signal,
      }),
    )
  }

  async status(handle, options) {
    return await this._call('status', { handle: object('handle', handle) }, options)
  }

  async terminate(handle, options) {
    const { signal, force } = optionalMembers('options', options, shapes.TerminateOptions)
    await this._do('terminate', { handle: object('handle', handle), force: force ?? false }, { signal })
  }

  async pause(handle, options) {
    await this._do('pause', { handle: object('handle', handle) }, options)
  }

  async resume(handle, options) {
    await this._do('resume', { handle: object('handle', handle) }, options)
  }

  async streamLogs(handle, options) {
    const text = json(object('handle', handle))
    signalOptions(options)
    return result(
      await call((id) => this.#native.streamLogs(id, text), {
        convert: (log) => new LogStream(log, options?.signal),
        signal: options?.signal,
      }),
    )
  }

  async capacity(options) {
    const { regions } = await this._call('capacity', {}, options)
    return regions
  }

  async capabilities(options) {
    return await this._call('capabilities', {}, options)
  }
}

module.exports = { SandboxProvider }
