'use strict'

const { call, result } = require('./call')
const { json, limit } = require('./arguments')

/** What the services of a client have in common: operations whose arguments and results are JSON. */
class Service {
  #native
  #name

  constructor(native, name) {
    this.#native = native
    this.#name = name
  }

  /** Starts an operation; what comes of it is for `result`. */
  _start(method, args, options, convert = (value) => value) {
    const text = json(args)
    const seconds = limit(undefined, options)
    return call((id) => this.#native.service(id, `${this.#name}.${method}`, text, seconds), {
      convert: (value) => convert(JSON.parse(value)),
      signal: options?.signal,
    })
  }

  async _call(method, args, options) {
    return result(await this._start(method, args, options))
  }

  async _do(method, args, options) {
    result(await this._start(method, args, options))
  }
}

module.exports = { Service }
