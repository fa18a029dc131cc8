'use strict'

const { call, closeOnAbort, result } = require('./call')
const { invalid } = require('./errors')
const { imageOf } = require('./image')
const { callback, json, limit, members, optionalMembers, optionalNumber, signalOptions, text } = require('./arguments')
const shapes = require('./shapes')

const parsed = { convert: (data) => JSON.parse(data) }

/** What a snapshot is called in a request. */
function nameOf(snapshot) {
  if (typeof snapshot === 'string') return snapshot
  if (typeof snapshot?.id !== 'string') throw invalid('snapshot must be a snapshot, or its id or name')
  return snapshot.id
}

/** How a call tells what it has uploaded. */
function uploadReport(options) {
  const report = callback('onUploadProgress', options?.onUploadProgress)
  return report ? { onProgress: (bytesSent, totalBytes) => report({ bytesSent, totalBytes }) } : {}
}

/** Tells the lines of a creation, and waits for its end. */
async function finishWithLogs(creation, onLogs, options) {
  try {
    for (;;) {
      const lines = onLogs && result(await call((id) => creation.next(id), { signal: options.signal }))
      if (!lines) break
      for (const line of lines) {
        const returned = onLogs(line)
        if (typeof returned?.then === 'function') await returned
      }
    }
    return result(await call((id) => creation.finish(id), options))
  } finally {
    creation.close()
  }
}

class BuildLog {
  #native
  #unwatch
  #batch = []

  constructor(native, signal) {
    this.#native = native
    this.#unwatch = closeOnAbort(signal, this)
  }

  [Symbol.asyncIterator]() {
    return {
      next: async () => {
        if (this.#batch.length === 0) {
          let batch
          try {
            batch = result(await call((id) => this.#native.next(id)))
          } finally {
            if (batch === undefined) this.close()
          }
          this.#batch.push(...(batch ?? []))
        }
        return this.#batch.length > 0 ? { done: false, value: this.#batch.shift() } : { done: true, value: undefined }
      },
      return: async () => {
        this.close()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  close() {
    this.#native.close()
    this.#unwatch?.()
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    this.close()
  }
}

class SnapshotService {
  #native

  constructor(native) {
    this.#native = native
  }

  async list(pageOrQuery, limitOrOptions, options) {
    const isPage = typeof pageOrQuery === 'number' || typeof limitOrOptions === 'number'
    const query = isPage
      ? { page: optionalNumber('page', pageOrQuery), limit: optionalNumber('limit', limitOrOptions) }
      : optionalMembers('query', pageOrQuery, shapes.ListSnapshotsQuery)
    const rest = (isPage ? options : limitOrOptions) ?? options
    const [queryText, seconds] = [json(query), limit(undefined, rest)]
    return result(
      await call((id) => this.#native.listSnapshots(id, queryText, seconds), { ...parsed, signal: rest?.signal }),
    )
  }

  async get(idOrName, options) {
    text('idOrName', idOrName)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.getSnapshot(id, idOrName, seconds), { ...parsed, signal: options?.signal }),
    )
  }

  async create(params, options) {
    const { resources, ...rest } = members('params', params, shapes.CreateSnapshotParams)
    const gpuType = resources?.gpuType
    const paramsText = json({
      ...rest,
      image: imageOf(rest.image),
      resources: gpuType == null ? resources : { ...resources, gpuType: [gpuType].flat() },
    })
    const seconds = limit(undefined, options, shapes.CreateSnapshotOptions)
    const onLogs = callback('onLogs', options?.onLogs)
    const upload = uploadReport(options)
    const creation = result(
      await call(
        (id) => this.#native.beginSnapshot(id, paramsText, Boolean(onLogs), seconds, Boolean(upload.onProgress)),
        { ...upload, signal: options?.signal },
      ),
    )
    return await finishWithLogs(creation, onLogs, { ...parsed, signal: options?.signal })
  }

  async buildLogs(snapshot, options) {
    const name = nameOf(snapshot)
    signalOptions(options)
    const log = result(await call((id) => this.#native.buildLogs(id, name), { signal: options?.signal }))
    return new BuildLog(log, options?.signal)
  }

  async deactivate(snapshot, options) {
    const name = nameOf(snapshot)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.deactivateSnapshot(id, name, seconds), { signal: options?.signal }))
  }

  async delete(snapshot, options) {
    const name = nameOf(snapshot)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.deleteSnapshot(id, name, seconds), { signal: options?.signal }))
  }

  async activate(snapshot, options) {
    const name = nameOf(snapshot)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.activateSnapshot(id, name, seconds), { ...parsed, signal: options?.signal }),
    )
  }
}

module.exports = { BuildLog, SnapshotService, finishWithLogs, uploadReport }
