'use strict'

const { call, result } = require('./call')
const { invalid } = require('./errors')
const { limit, optionalMembers, optionalText, optionalTexts, text } = require('./arguments')
const shapes = require('./shapes')

const parse = (value) => (value === null ? undefined : JSON.parse(value))
const parsed = (options) => ({ convert: parse, signal: options?.signal })

class Result {
  constructor({ data, isMain }) {
    this.data = data
    this.isMain = isMain
  }

  get text() {
    return this.data['text/plain']
  }

  get html() {
    return this.data['text/html']
  }

  get markdown() {
    return this.data['text/markdown']
  }

  get png() {
    return this.data['image/png']
  }

  get jpeg() {
    return this.data['image/jpeg']
  }

  get svg() {
    return this.data['image/svg+xml']
  }

  get json() {
    return this.data['application/json']
  }
}

class CodeInterpreter {
  #native

  constructor(native) {
    this.#native = native
  }

  async runCode(code, options) {
    if (text('code', code).trim() === '') throw invalid('the code is blank')
    const given = optionalMembers('options', options, shapes.RunCodeOptions)
    const { context, envs, onStdout, onStderr, onError, onResult, results, signal } = given
    const callbacks = {
      stdout: onStdout,
      stderr: onStderr,
      error: onError,
      result: onResult,
    }
    const wanted = Boolean(results || onResult)
    const contextId = optionalText('context.id', context?.id)
    const envsText = optionalTexts('options.envs', envs)
    const seconds = limit(undefined, options, shapes.RunCodeOptions)
    const run = result(
      await call((id) => this.#native.runCode(id, code, contextId, envsText, seconds, wanted), { signal }),
    )
    const outcome = { stdout: '', stderr: '' }
    if (wanted) outcome.results = []
    try {
      for (;;) {
        const messages = result(await call((id) => run.next(id), { convert: parse, signal }))
        if (messages === undefined) return outcome
        for (const { type, ...message } of messages) {
          const value = note(outcome, type, message)
          if (callbacks[type]) await callbacks[type](value)
        }
      }
    } finally {
      run.close()
    }
  }

  async createContext(cwd, options) {
    optionalText('cwd', cwd)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.createContext(id, cwd ?? undefined, seconds), parsed(options)))
  }

  async listContexts(options) {
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.listContexts(id, seconds), parsed(options)))
  }

  async deleteContext(context, options) {
    const contextId = text('context.id', context?.id)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.deleteContext(id, contextId, seconds), { signal: options?.signal }))
  }
}

/** Adds a message to the outcome; what its callback is given. */
function note(outcome, type, message) {
  if (type === 'stdout' || type === 'stderr') {
    outcome[type] += message.text
    return { output: message.text }
  }
  if (type === 'error') {
    outcome.error = message
    return message
  }
  const shown = new Result(message)
  outcome.results?.push(shown)
  return shown
}

module.exports = { CodeInterpreter, Result }
