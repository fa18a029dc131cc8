'use strict'

const { call, result } = require('./call')
const { invalid } = require('./errors')
const { json, limit, object, optionalNumber, text } = require('./arguments')

const parsed = { convert: (data) => JSON.parse(data) }

/** What a snapshot is called in a request. */
function nameOf(snapshot) {
  if (typeof snapshot === 'string') return snapshot
  if (typeof snapshot?.id !== 'string') throw invalid('snapshot must be a snapshot, or its id or name')
  return snapshot.id
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
      : object('query', pageOrQuery)
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

module.exports = { SnapshotService }
