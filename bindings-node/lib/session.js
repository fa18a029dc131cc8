'use strict'

const { closeOnAbort } = require('./call')
const { Chunks } = require('./output')

class LogStream {
  #native
  #chunks
  #unwatch

  constructor(native, signal) {
    this.#native = native
    this.#chunks = new Chunks(native, signal)
    this.#unwatch = closeOnAbort(signal, this)
  }

  [Symbol.asyncIterator]() {
    return this.#chunks.iterator(() => this.close())
  }

  close() {
    this.#native.close()
    this.#unwatch?.()
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    this.close()
  }
}

module.exports = { LogStream }
