'use strict'

const { call, closeOnAbort, result } = require('./call')
const { Chunks } = require('./output')
const { bytes, signalOptions } = require('./arguments')

class ExecStream {
  #native
  #chunks
  #signal
  #unwatch

  constructor(native, signal) {
    this.#native = native
    this.#chunks = new Chunks(native, signal)
    this.#signal = signal
    this.#unwatch = closeOnAbort(signal, this)
  }

  get exitCode() {
    return this.#native.exitCode() ?? undefined
  }

  [Symbol.asyncIterator]() {
    return this.#chunks.iterator()
  }

  async wait(options) {
    const exitCode = result(await this.#call((id) => this.#native.wait(id), options))
    this.#unwatch()
    return exitCode
  }

  async writeStdin(data, options) {
    const piece = bytes('data', data)
    return result(await this.#call((id) => this.#native.writeStdin(id, piece), options))
  }

  async closeStdin(options) {
    return result(await this.#call((id) => this.#native.closeStdin(id), options))
  }

  async signal(name, options) {
    return result(await this.#call((id) => this.#native.signal(id, String(name)), options))
  }

  async kill(options) {
    return result(await this.#call((id) => this.#native.kill(id), options))
  }

  close() {
    this.#native.close()
    this.#unwatch?.()
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    this.close()
  }

  #call(start, options) {
    signalOptions(options)
    return call(start, { signal: options?.signal ?? this.#signal })
  }
}

module.exports = { ExecStream }
