'use strict'

const { call, result } = require('./call')
const { integer, limit, members, text } = require('./arguments')
const shapes = require('./shapes')

const fromJson = (options) => ({ convert: (value) => JSON.parse(value), signal: options?.signal })

class LspServer {
  #native

  constructor(native) {
    this.#native = native
  }

  async start(options) {
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.start(id, seconds), { signal: options?.signal }))
  }

  async stop(options) {
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.stop(id, seconds), { signal: options?.signal }))
  }

  async didOpen(path, options) {
    text('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.didOpen(id, path, seconds), { signal: options?.signal }))
  }

  async didClose(path, options) {
    text('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.didClose(id, path, seconds), { signal: options?.signal }))
  }

  async documentSymbols(path, options) {
    text('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.documentSymbols(id, path, seconds), fromJson(options)))
  }

  async workspaceSymbols(query, options) {
    return await this.sandboxSymbols(query, options)
  }

  async sandboxSymbols(query, options) {
    text('query', query)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.sandboxSymbols(id, query, seconds), fromJson(options)))
  }

  async completions(path, position, options) {
    text('path', path)
    const { line, character } = members('position', position, shapes.Position)
    integer('line', line)
    integer('character', character)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.completions(id, path, line, character, seconds), fromJson(options)))
  }
}

/** The language server of a project, if there can be one. */
async function createLspServer(native, languageId, pathToProject) {
  const server = native.lspServer(text('languageId', languageId), text('pathToProject', pathToProject))
  result(await call((id) => server.check(id)))
  return new LspServer(server)
}

const LspLanguageId = { PYTHON: 'python', TYPESCRIPT: 'typescript', JAVASCRIPT: 'javascript' }

module.exports = { LspLanguageId, LspServer, createLspServer }
