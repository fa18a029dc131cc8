'use strict'

const { finishAtExit } = require('./at_exit')
const { call, calls, result } = require('./call')
const { native } = require('./native')
const { toError } = require('./errors')
const { settings } = require('./daytona')
const { Service } = require('./service')
const { LogStream } = require('./session')
const { json, limit, object, optionalText } = require('./arguments')

class SandboxProvider extends Service {
  #native

  constructor(pool, options) {
    const apiKey = optionalText('apiKey', object('options', options).apiKey)
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
    const seconds = limit(undefined, object('options', options))
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
    const args = { handle: object('handle', handle), force: Boolean(options?.force) }
    await this._do('terminate', args, options)
  }

  async pause(handle, options) {
    await this._do('pause', { handle: object('handle', handle) }, options)
  }

  async resume(handle, options) {
    await this._do('resume', { handle: object('handle', handle) }, options)
  }

  async streamLogs(handle, options) {
    const text = json(object('handle', handle))
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
