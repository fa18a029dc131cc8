'use strict'

const { call, result } = require('./call')
const { invalid } = require('./errors')
const { bytes, integer, limit, signalOptions } = require('./arguments')

class PtyHandle {
  #native
  /** Hands the output over to `onData` and ends with it. */
  #pump

  constructor(native, onData) {
    this.#native = native
    if (!onData) return
    native.keepOutput()
    this.#pump = pump(native, onData)
  }

  get sessionId() {
    return this.#native.sessionId()
  }

  get exitCode() {
    return this.#native.exitCode() ?? undefined
  }

  get error() {
    return this.#native.error() ?? undefined
  }

  isConnected() {
    return this.#native.isConnected()
  }

  async waitForConnection(options) {
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.waitForConnection(id, seconds), { signal: options?.signal }))
  }

  async sendInput(data, options) {
    const piece = bytes('data', data)
    signalOptions(options)
    return result(await call((id) => this.#native.sendInput(id, piece), { signal: options?.signal }))
  }

  async resize(cols, rows, options) {
    integer('cols', cols)
    integer('rows', rows)
    signalOptions(options)
    return result(
      await call((id) => this.#native.resize(id, cols, rows), {
        convert: (value) => JSON.parse(value),
        signal: options?.signal,
      }),
    )
  }

  async wait(options) {
    const seconds = limit(undefined, options)
    const exit = (exitCode, error) => ({ exitCode: exitCode ?? undefined, error: error ?? undefined })
    const ended = call((id) => this.#native.wait(id, seconds), { convert: exit, signal: options?.signal }).then(result)
    // What was written before the end is handed over before it is told.
    const [exited] = await Promise.all([ended, this.#pump])
    return exited
  }

  async kill(options) {
    signalOptions(options)
    return result(await call((id) => this.#native.kill(id), { signal: options?.signal }))
  }

  async disconnect() {
    this.#native.disconnect()
  }

  async *[Symbol.asyncIterator]() {
    if (this.#pump) throw invalid('onData takes the output of this terminal: connect without it to iterate')
    for (;;) {
      const data = result(await call((id) => this.#native.next(id)))
      if (data === undefined) return
      yield data
    }
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    await this.disconnect()
  }
}

async function pump(native, onData) {
  for (;;) {
    // How the connection ended is told by `wait`.
    const data = await call((id) => native.next(id))
      .then(result)
      .catch(() => undefined)
    if (data === undefined) return
    try {
      await onData(data)
    } catch (error) {
      native.disconnect()
      throw error
    }
  }
}

/** The handle of a terminal that the bridge opens. */
async function openPty(start, onData, options) {
  return new PtyHandle(result(await call(start, { signal: options?.signal })), onData)
}

module.exports = { PtyHandle, openPty }
