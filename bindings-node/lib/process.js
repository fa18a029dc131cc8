'use strict'

const { call, result } = require('./call')
const { limit, list, object, optionalJson, optionalText, text } = require('./arguments')

class CodeRunParams {
  argv
  env
}

const toExecuteResponse = (exitCode, result) => ({ exitCode, result, artifacts: { stdout: result } })
const toCodeResponse = (exitCode, result) => ({ exitCode, result, artifacts: { stdout: result, charts: [] } })

class Process {
  #native

  constructor(native) {
    this.#native = native
  }

  async executeCommand(command, cwd, env, timeout, options) {
    text('command', command)
    optionalText('cwd', cwd)
    const envText = optionalJson(env)
    const seconds = limit(timeout, options)
    return result(
      await call((id) => this.#native.exec(id, command, cwd, envText, seconds), {
        convert: toExecuteResponse,
        signal: options?.signal,
      }),
    )
  }

  async codeRun(code, params, timeout, options) {
    text('code', code)
    const { argv, env } = object('params', params)
    const argvText = argv == null ? undefined : optionalJson(list('params.argv', argv))
    const envText = optionalJson(env)
    const seconds = limit(timeout, options)
    return result(
      await call((id) => this.#native.codeRun(id, code, argvText, envText, seconds), {
        convert: toCodeResponse,
        signal: options?.signal,
      }),
    )
  }
}

module.exports = { CodeRunParams, Process }
