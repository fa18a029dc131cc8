'use strict'

const { Readable } = require('node:stream')
const { abandon, call, cancelledError, finished, nextId, result } = require('./call')
const { invalid } = require('./errors')

/** Larger pieces are handed over in parts, so that few bytes wait whatever the source gives. */
const PART = 256 * 1024

const iteratorOf = (source) => source?.[Symbol.asyncIterator] ?? source?.[Symbol.iterator]

/** The pieces of any kind of stream, and a way to give it up. */
function reader(source) {
  if (typeof source.getReader === 'function') {
    const web = source.getReader()
    return { next: () => web.read(), stop: (reason) => web.cancel(reason) }
  }
  const iterator = iteratorOf(source).call(source)
  return {
    next: async () => iterator.next(),
    stop: async (reason) => {
      // A stream that is waiting for data would not hear of the iterator's end.
      if (typeof source.destroy === 'function') source.destroy(reason instanceof Error ? reason : undefined)
      await iterator.return?.()
    },
  }
}

function bytes(piece) {
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength)
  if (typeof piece === 'string') return Buffer.from(piece)
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece)
  throw invalid(`a piece of the source must be bytes or a string, not ${piece === null ? 'null' : typeof piece}`)
}

/** Uploads what a stream gives, as fast as it is sent. */
async function uploadPieces(start, source, options) {
  if (typeof source?.getReader !== 'function' && typeof iteratorOf(source) !== 'function') {
    throw invalid('source must be a Buffer, the path of a local file, a stream or an async iterable')
  }
  let uploadId
  let over = false
  let pieces
  const upload = call((id) => {
    uploadId = id
    pieces = start(id)
  }, options)
  let input
  const pump = async () => {
    input = reader(source)
    for (;;) {
      const { done, value } = await input.next()
      if (done || over) break
      const piece = bytes(value)
      for (let begin = 0; begin < piece.length && !over; begin += PART) {
        const id = nextId()
        if (!pieces.write(id, piece.subarray(begin, begin + PART))) await finished(id)
      }
    }
    pieces.end()
  }
  const pumped = pump().catch((error) => abandon(uploadId, error))
  try {
    result(await upload)
    await pumped
  } catch (error) {
    // Not waited for: a source may take as long as it likes to notice.
    Promise.resolve(input?.stop(error)).catch(() => {})
    throw error
  } finally {
    over = true
  }
}

/** A Node stream of a download that the bridge opens. */
async function openDownload(start, { signal, onProgress }) {
  const cancelled = cancelledError('Download cancelled')
  const convert = (handle, total) => ({ handle, total: total ?? undefined })
  const { handle, total } = result(await call(start, { signal, cancelled, convert }))
  let bytesReceived = 0
  let reading = 0
  const next = async () =>
    result(
      await call((id) => {
        reading = id
        handle.next(id)
      }),
    )
  const stream = new Readable({
    read() {
      next().then(
        (piece) => {
          reading = 0
          if (piece === undefined) {
            this.push(null)
            return
          }
          try {
            bytesReceived += piece.length
            onProgress?.({ bytesReceived, totalBytes: total })
          } catch (error) {
            this.destroy(error)
            return
          }
          this.push(piece)
        },
        (error) => this.destroy(error),
      )
    },
    destroy(error, done) {
      signal?.removeEventListener('abort', onAbort)
      abandon(reading, error)
      handle.close()
      done(error)
    },
  })
  const onAbort = () => stream.destroy(cancelled(signal.reason))
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  return stream
}

module.exports = { openDownload, uploadPieces }
