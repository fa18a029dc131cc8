'use strict'

const { optionalMembers } = require('../../lib/arguments')
const { FlueOptions } = require('../../lib/shapes')
const { DaytonaNotFoundError, DaytonaProcessExecutionTimeoutError, DaytonaSandboxDiedError } = require('daytona-native')

/** What a command may write before it is ended, in UTF-16 units: as much as Flue's own `local()` takes. */
const OUTPUT_LIMIT = 64 * 1024 * 1024
/** As timeout(1) has it. */
const TIMED_OUT = 124

/** Flue is the application's own dependency: its errors must be of the classes that the application imports. */
async function loadFlue() {
  try {
    return await import('@flue/runtime')
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  try {
    // Before 0.8 this was where Flue kept it.
    return await import('@flue/sdk/sandbox')
  } catch (error) {
    if (!isMissing(error)) throw error
    throw new Error(
      "@flue/runtime is not found from here: install it, or pass it as daytona(sandbox, { runtime: await import('@flue/runtime') })",
      { cause: error },
    )
  }
}

const isMissing = ({ code }) => code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'

/** The verbs of a sandbox as Flue asks for them. Paths are absolute: Flue resolves them. */
class Driver {
  #sandbox
  #flue

  constructor(sandbox, flue) {
    this.#sandbox = sandbox
    this.#flue = flue
  }

  async readFile(path) {
    return (await this.#read(path)).toString('utf8')
  }

  async readFileBuffer(path) {
    return new Uint8Array(await this.#read(path))
  }

  async writeFile(path, content) {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    await this.#guard('writeFile', this.#sandbox.fs.uploadFile(bytes, path))
  }

  /** Links are followed by the sandbox, which leaves open whether the path is one. */
  async stat(path) {
    const { isDir, mode, size, modifiedAt, modTime } = await this.#guard('stat', this.#sandbox.fs.getFileDetails(path))
    const stat = { isFile: mode ? mode.startsWith('-') : !isDir, isDirectory: isDir }
    if (Number.isFinite(size)) stat.size = size
    const mtime = new Date(modifiedAt ?? modTime)
    if (!Number.isNaN(mtime.getTime())) stat.mtime = mtime
    return stat
  }

  async readdir(path) {
    const entries = await this.#guard('readdir', this.#sandbox.fs.listFiles(path))
    return entries.map(({ name }) => name)
  }

  async exists(path) {
    try {
      await this.#guard('exists', this.#sandbox.fs.getFileDetails(path))
      return true
    } catch (error) {
      // That the sandbox is gone says nothing of the path.
      if (error instanceof DaytonaSandboxDiedError || error.type === 'sandbox_died') throw error
      return false
    }
  }

  async mkdir(path, options) {
    if (options?.recursive) {
      await this.#guard('mkdir', this.#sandbox.fs.createFolder(path, '755'))
      return
    }
    // The API of files makes parents and takes what is there; this must not.
    const { stderr, exitCode } = await this.exec(`mkdir -- ${quote(path)}`)
    if (exitCode !== 0) throw new Error(stderr.trim() || `mkdir ${path} ended with ${exitCode}`)
  }

  async rm(path, options) {
    try {
      await this.#guard('rm', this.#sandbox.fs.deleteFile(path, options?.recursive ?? false))
    } catch (error) {
      if (!(options?.force && error instanceof DaytonaNotFoundError)) throw error
    }
  }

  async exec(command, options) {
    const { cwd, env, timeoutMs, signal } = { ...options, timeoutMs: limitOf(options) }
    const output = { stdout: [], stderr: [] }
    const result = (exitCode, note) => ({
      stdout: output.stdout.join(''),
      stderr: output.stderr.join('') + (note ? `${note}\n` : ''),
      exitCode,
    })
    const seconds = timeoutMs === undefined ? undefined : Math.max(1, Math.ceil(timeoutMs / 1000))
    const run = async () => {
      const stream = await this.#sandbox.process.executeCommandStream(command, cwd, env, seconds, { signal })
      // Nobody sends it input. Not every server can close it.
      stream.closeStdin().catch(() => {})
      let length = 0
      try {
        for await (const { stream: name, text } of stream) {
          output[name].push(text)
          length += text.length
          if (length > OUTPUT_LIMIT) return result(1, `the command wrote more than ${OUTPUT_LIMIT} characters and was killed`)
        }
        return result(stream.exitCode)
      } finally {
        stream.close()
      }
    }
    try {
      return await this.#guard('exec', run())
    } catch (error) {
      if (!(error instanceof DaytonaProcessExecutionTimeoutError)) throw error
      return result(TIMED_OUT, `the command ran over its limit of ${seconds} s and was killed`)
    }
  }

  #read(path) {
    return this.#guard('readFile', this.#sandbox.fs.downloadFile(path))
  }

  /** The sandbox's end, which ends the call, in Flue's own words where it has some. */
  async #guard(operation, call) {
    try {
      return await call
    } catch (error) {
      const { SandboxDiedError } = this.#flue
      if (!(error instanceof DaytonaSandboxDiedError) || !SandboxDiedError) throw error
      const died = new SandboxDiedError({ operation, reason: 'stopped' })
      died.cause = error
      throw died
    }
  }
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`

/** Milliseconds; Flue before 0.8 gave seconds. */
function limitOf({ timeoutMs, timeout } = {}) {
  return timeoutMs ?? (timeout == null ? undefined : timeout * 1000)
}

function daytona(sandbox, options) {
  if (typeof sandbox?.process?.executeCommandStream !== 'function') {
    throw new TypeError('daytona() takes a sandbox of daytona-native: what Daytona.create() or get() resolves to')
  }
  optionalMembers('options', options, FlueOptions)
  const createSandbox = async () => {
    const [flue, cwd] = await Promise.all([options?.runtime ?? loadFlue(), sandbox.getWorkDir()])
    const wrap = flue.sandboxFromDriver ?? flue.createSandboxSessionEnv
    return wrap(new Driver(sandbox, flue), cwd)
  }
  return { createSandbox, createSessionEnv: createSandbox }
}

module.exports = { daytona }
