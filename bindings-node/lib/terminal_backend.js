'use strict'

const { finishAtExit } = require('./at_exit')
const { call, calls, result } = require('./call')
const { native } = require('./native')
const { invalid, toError } = require('./errors')
const { nativeOf, settings } = require('./daytona')
const { ExecStream } = require('./exec_stream')
const { bytes, json, limit, object, optionalMembers, text } = require('./arguments')
const shapes = require('./shapes')

function configured(config, taskId) {
  if (typeof config === 'string') {
    if (taskId != null) throw invalid('taskId and YAML exclude each other: write terminal.daytona.task_id')
    return [config, true]
  }
  const values = object('config', config)
  if (taskId == null) return [json(values), false]
  const terminal = { ...values.terminal }
  terminal.daytona = { ...terminal.daytona, task_id: text('taskId', taskId) }
  return [json({ ...values, terminal }), false]
}

function how(options, shape) {
  const { cwd, env, timeout } = optionalMembers('options', options, shape)
  return json({ cwd, env, timeout })
}

class TerminalBackend {
  #native

  constructor(config, options) {
    const { daytona, taskId } = optionalMembers('options', options, shapes.TerminalBackendOptions)
    const [values, isYaml] = configured(config, taskId)
    const made =
      daytona == null
        ? native.newTerminal(calls, settings({}), values, isYaml)
        : nativeOf(daytona).terminal(values, isYaml)
    if (typeof made === 'string') throw toError(made)
    this.#native = made
    finishAtExit()
  }

  static images() {
    return JSON.parse(native.terminalImages())
  }

  get config() {
    return JSON.parse(this.#native.config())
  }

  async exec(command, options) {
    text('command', command)
    const given = how(options, shapes.TerminalRunOptions)
    const stream = result(
      await call((id) => this.#native.exec(id, command, given), {
        convert: (handle) => new ExecStream(handle, options?.signal),
        signal: options?.signal,
      }),
    )
    return stream
  }

  async run(command, options) {
    text('command', command)
    const given = how(options, shapes.TerminalStdinOptions)
    const stdin = options?.stdin == null ? undefined : bytes('stdin', options.stdin)
    return result(
      await call((id) => this.#native.run(id, command, given, stdin), {
        convert: (answer) => JSON.parse(answer),
        signal: options?.signal,
      }),
    )
  }

  async close(options) {
    const seconds = limit(undefined, options)
    result(await call((id) => this.#native.close(id, seconds), { signal: options?.signal }))
  }

  async destroy(options) {
    const seconds = limit(undefined, options)
    result(await call((id) => this.#native.destroy(id, seconds), { signal: options?.signal }))
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    await this.close()
  }
}

module.exports = { TerminalBackend }
