'use strict'

const { DaytonaProcessExecutionTimeoutError } = require('daytona-native')

/** What is kept of the beginning, and of the end, of a long output. */
const KEPT = 64 * 1024

/** The beginning and the end of what is written. */
class Output {
  #head = ''
  #tail = ''
  #left = 0

  push(text) {
    const room = KEPT - this.#head.length
    this.#head += text.slice(0, room)
    this.#tail += room < text.length ? text.slice(Math.max(room, 0)) : ''
    if (this.#tail.length > 2 * KEPT) {
      this.#left += this.#tail.length - KEPT
      this.#tail = this.#tail.slice(-KEPT)
    }
  }

  get text() {
    return this.#left === 0 ? this.#head + this.#tail : `${this.#head}\n... ${this.#left} characters left out ...\n${this.#tail}`
  }
}

/**
 * Runs a command to its end, and kills it when `signal` aborts.
 *
 * @returns {Promise<{output: string, stdout: string, stderr: string, exitCode: number | undefined, timedOut: boolean}>}
 */
async function run(sandbox, command, { cwd, env, timeoutMs, signal, onOutput } = {}) {
  const all = new Output()
  const each = { stdout: new Output(), stderr: new Output() }
  const result = (exitCode, timedOut) => ({
    output: all.text,
    stdout: each.stdout.text,
    stderr: each.stderr.text,
    exitCode,
    timedOut,
  })
  const seconds = timeoutMs == null ? undefined : Math.max(1, Math.ceil(timeoutMs / 1000))
  try {
    const stream = await sandbox.process.executeCommandStream(command, cwd, env, seconds, { signal })
    // Nobody sends it input. Not every server can close it.
    stream.closeStdin().catch(() => {})
    try {
      for await (const { stream: name, text } of stream) {
        all.push(text)
        each[name].push(text)
        onOutput?.(all)
      }
      return result(stream.exitCode, false)
    } finally {
      stream.close()
    }
  } catch (error) {
    if (!(error instanceof DaytonaProcessExecutionTimeoutError)) throw error
    return result(undefined, true)
  }
}

/** Runs a command that must succeed, and gives its stdout. */
async function expect(sandbox, command, options) {
  const { stdout, output, exitCode } = await run(sandbox, command, { timeoutMs: 600_000, ...options })
  if (exitCode !== 0) throw new Error(output.trim() || `the command ended with ${exitCode}`)
  return stdout
}

const quote = (text) => `'${String(text).replaceAll("'", "'\\''")}'`

module.exports = { expect, quote, run }
