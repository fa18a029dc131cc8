'use strict'

const { call, result } = require('./call')

/** A piece is its stream and text, or with this added to the stream a third slot, its bytes: `completion.rs`. */
const BYTES = 2
const STREAMS = ['stdout', 'stderr']

class OutputChunk {
  #data

  constructor(stream, text, data) {
    this.stream = stream
    this.text = text
    this.#data = data
  }

  get data() {
    return (this.#data ??= Buffer.from(this.text))
  }
}

function toChunks(slots) {
  if (slots === null) return undefined
  const chunks = []
  for (let index = 0; index < slots.length;) {
    const kind = slots[index++]
    const text = slots[index++]
    chunks.push(new OutputChunk(STREAMS[kind % BYTES], text, kind >= BYTES ? slots[index++] : undefined))
  }
  return chunks
}

const END = { done: true, value: undefined }

/** The output of a handle of the bridge. A loop that is left takes nothing along that it has not seen. */
class Chunks {
  #native
  #options
  #batch = []
  #taken = 0

  constructor(native, signal) {
    this.#native = native
    this.#options = { convert: toChunks, signal }
  }

  /** An iterator that calls `left` when its loop is over, however. */
  iterator(left) {
    return {
      next: () => (this.#taken < this.#batch.length ? Promise.resolve(this.#take()) : this.#wait(left)),
      return: async () => {
        left?.()
        return END
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  #take() {
    return { done: false, value: this.#batch[this.#taken++] }
  }

  async #wait(left) {
    let batch
    try {
      batch = result(await call((id) => this.#native.next(id), this.#options))
    } finally {
      if (batch === undefined) left?.()
    }
    if (batch !== undefined) {
      // Another loop may have had one too.
      this.#batch = [...this.#batch.slice(this.#taken), ...batch]
      this.#taken = 0
    }
    return this.#taken < this.#batch.length ? this.#take() : END
  }
}

/** Hands the output of a handle of the bridge over to functions, until its end. */
async function deliver(native, onStdout, onStderr, signal) {
  const callbacks = [onStdout, onStderr]
  try {
    for (;;) {
      const slots = result(await call((id) => native.next(id), { signal }))
      if (slots === undefined) return
      for (let index = 0; index < slots.length;) {
        const kind = slots[index++]
        const text = slots[index++]
        if (kind >= BYTES) index++
        // Half a character is no text yet.
        if (text === '') continue
        const returned = callbacks[kind % BYTES]?.(text)
        if (typeof returned?.then === 'function') await returned
      }
    }
  } finally {
    native.close()
  }
}

module.exports = { Chunks, OutputChunk, deliver }
