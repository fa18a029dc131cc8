'use strict'

const { call, result } = require('./call')
const { ExecStream } = require('./exec_stream')
const { deliver } = require('./output')
const { openPty } = require('./pty')
const { LogStream } = require('./session')
const {
  callback,
  integer,
  json,
  limit,
  members,
  optionalFlag,
  optionalMembers,
  optionalText,
  optionalTexts,
  signalOptions,
  text,
} = require('./arguments')
const shapes = require('./shapes')

/** What precedes the bytes of either stream in a followed log. */
const STDOUT_PREFIX_BYTES = new Uint8Array([1, 1, 1])
const STDERR_PREFIX_BYTES = new Uint8Array([2, 2, 2])
const MAX_PREFIX_LEN = 3

class CodeRunParams {
  argv
  env
}

const toExecuteResponse = (exitCode, result) => ({ exitCode, result, artifacts: { stdout: result } })
const toCodeResponse = ([result, charts], exitCode) => ({
  exitCode,
  result,
  artifacts: { stdout: result, charts: charts === null ? [] : JSON.parse(charts) },
})
const toLogs = ([output, stdout, stderr]) => ({ output, stdout, stderr })
const parse = (value) => JSON.parse(value)

/** A command that runs on has neither output nor exit code yet. */
function toSessionResponse([cmdId, output, stdout, stderr], exitCode) {
  const response = { cmdId, stdout: stdout ?? '', stderr: stderr ?? '' }
  if (output !== null) response.output = output
  if (exitCode !== null) response.exitCode = exitCode
  return response
}

class Process {
  #native

  constructor(native) {
    this.#native = native
  }

  async executeCommand(command, cwd, env, timeout, options) {
    text('command', command)
    optionalText('cwd', cwd)
    const envText = optionalTexts('env', env)
    const seconds = limit(timeout, options)
    return await this.#call(
      (id) => this.#native.exec(id, command, cwd ?? undefined, envText, seconds),
      options,
      toExecuteResponse,
    )
  }

  async codeRun(code, params, timeout, options) {
    text('code', code)
    const { argv, env } = optionalMembers('params', params, shapes.CodeRunParams)
    const argvText = argv == null ? undefined : json(argv)
    const envText = optionalTexts('params.env', env)
    const seconds = limit(timeout, options)
    return await this.#call((id) => this.#native.codeRun(id, code, argvText, envText, seconds), options, toCodeResponse)
  }

  async executeCommandStream(command, cwd, env, timeout, options) {
    text('command', command)
    optionalText('cwd', cwd)
    const envText = optionalTexts('env', env)
    const seconds = limit(timeout, options)
    const native = await this.#call(
      (id) => this.#native.execStream(id, command, cwd ?? undefined, envText, seconds),
      options,
    )
    return new ExecStream(native, options?.signal)
  }

  async createSession(sessionId, options) {
    text('sessionId', sessionId)
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.createSession(id, sessionId, seconds), options)
  }

  async getSession(sessionId, options) {
    text('sessionId', sessionId)
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.getSession(id, sessionId, seconds), options, parse)
  }

  async getEntrypointSession(options) {
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.getEntrypointSession(id, seconds), options, parse)
  }

  async listSessions(options) {
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.listSessions(id, seconds), options, parse)
  }

  async deleteSession(sessionId, options) {
    text('sessionId', sessionId)
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.deleteSession(id, sessionId, seconds), options)
  }

  async executeSessionCommand(sessionId, req, timeout, options) {
    text('sessionId', sessionId)
    text('req.command', members('req', req, shapes.SessionExecuteRequest).command)
    const reqText = json(req)
    const seconds = limit(timeout, options)
    return await this.#call(
      (id) => this.#native.executeSessionCommand(id, sessionId, reqText, seconds),
      options,
      toSessionResponse,
    )
  }

  async getSessionCommand(sessionId, commandId, options) {
    text('sessionId', sessionId)
    text('commandId', commandId)
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.getSessionCommand(id, sessionId, commandId, seconds), options, parse)
  }

  async getSessionCommandLogs(sessionId, commandId, ...rest) {
    text('sessionId', sessionId)
    text('commandId', commandId)
    const { onStdout, onStderr, options } = callbacksOf(rest)
    if (onStdout || onStderr) {
      signalOptions(options)
      const native = await this.#call((id) => this.#native.followSessionCommandLogs(id, sessionId, commandId), options)
      return await deliver(native, onStdout, onStderr, options?.signal)
    }
    const seconds = limit(undefined, options)
    return await this.#call(
      (id) => this.#native.getSessionCommandLogs(id, sessionId, commandId, seconds),
      options,
      toLogs,
    )
  }

  async followSessionCommandLogs(sessionId, commandId, options) {
    text('sessionId', sessionId)
    text('commandId', commandId)
    signalOptions(options)
    const native = await this.#call((id) => this.#native.followSessionCommandLogs(id, sessionId, commandId), options)
    return new LogStream(native, options?.signal)
  }

  async getEntrypointLogs(...rest) {
    const { onStdout, onStderr, options } = callbacksOf(rest)
    if (onStdout || onStderr) {
      signalOptions(options)
      const native = await this.#call((id) => this.#native.followEntrypointLogs(id), options)
      return await deliver(native, onStdout, onStderr, options?.signal)
    }
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.getEntrypointLogs(id, seconds), options, toLogs)
  }

  async followEntrypointLogs(options) {
    signalOptions(options)
    const native = await this.#call((id) => this.#native.followEntrypointLogs(id), options)
    return new LogStream(native, options?.signal)
  }

  async sendSessionCommandInput(sessionId, commandId, data, options) {
    text('sessionId', sessionId)
    text('commandId', commandId)
    text('data', data)
    const seconds = limit(undefined, options)
    return await this.#call(
      (id) => this.#native.sendSessionCommandInput(id, sessionId, commandId, data, seconds),
      options,
    )
  }

  async createPty(options, callOptions) {
    const shape = { ...shapes.PtyCreateOptions, ...shapes.PtyConnectOptions }
    const { id: sessionId, cwd, envs, cols, rows, onData } = optionalMembers('options', options, shape)
    text('id', sessionId)
    const start = {
      cwd: optionalText('cwd', cwd),
      env: optionalTexts('options.envs', envs),
      cols: cols == null ? undefined : integer('cols', cols),
      rows: rows == null ? undefined : integer('rows', rows),
    }
    signalOptions(callOptions, 'callOptions')
    return await openPty(
      (id) => this.#native.createPty(id, sessionId, start.cwd, start.env, start.cols, start.rows),
      onData,
      callOptions,
    )
  }

  async connectPty(sessionId, options, callOptions) {
    text('sessionId', sessionId)
    const { onData, replay } = optionalMembers('options', options, shapes.PtyReconnectOptions)
    const from = optionalFlag('options.replay', replay)
    signalOptions(callOptions, 'callOptions')
    return await openPty((id) => this.#native.connectPty(id, sessionId, from), onData ?? undefined, callOptions)
  }

  async listPtySessions(options) {
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.listPtySessions(id, seconds), options, parse)
  }

  async getPtySessionInfo(sessionId, options) {
    text('sessionId', sessionId)
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.getPtySessionInfo(id, sessionId, seconds), options, parse)
  }

  async killPtySession(sessionId, options) {
    text('sessionId', sessionId)
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.killPtySession(id, sessionId, seconds), options)
  }

  async resizePtySession(sessionId, cols, rows, options) {
    text('sessionId', sessionId)
    integer('cols', cols)
    integer('rows', rows)
    const seconds = limit(undefined, options)
    return await this.#call((id) => this.#native.resizePtySession(id, sessionId, cols, rows, seconds), options, parse)
  }

  async #call(start, options, convert) {
    return result(await call(start, { convert, signal: options?.signal }))
  }
}

/** The parameters of a method that follows a log where it is given functions. */
function callbacksOf([first, ...others]) {
  if (first != null && typeof first === 'object') return { options: first }
  const [second, options] = others
  return { onStdout: callback('onStdout', first), onStderr: callback('onStderr', second), options }
}

module.exports = { CodeRunParams, MAX_PREFIX_LEN, Process, STDERR_PREFIX_BYTES, STDOUT_PREFIX_BYTES }
