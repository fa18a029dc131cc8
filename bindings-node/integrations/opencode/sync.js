'use strict'

const { spawn } = require('node:child_process')
const { copyFile, mkdtemp, rm, writeFile } = require('node:fs/promises')
const { tmpdir } = require('node:os')
const { join, resolve } = require('node:path')
const { expect, quote } = require('./run')

/** Minutes that an access over SSH is good for. */
const ACCESS = 60
const HOST = 'sandbox'
/** How long one step may take, in milliseconds. */
const LIMIT = 600_000

/** Runs the machine's own git, and gives its stdout. */
function git(folder, args, { env, accept = [0] } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn('git', args, {
      cwd: folder,
      env: { ...process.env, GIT_TERMINAL_PROMPT: '0', LC_ALL: 'C', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT,
    })
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (piece) => (output[name] += piece))
    child.on('error', reject)
    child.on('close', (code) => {
      if (accept.includes(code)) resolve(output.stdout.trim())
      else reject(new Error(`git ${args[0]}: ${output.stderr.trim() || `exit code ${code}`}`))
    })
  })
}

/** A configuration of ssh that does what a command `ssh -p PORT -o KEY=VALUE TOKEN@HOST` does. */
function sshConfig(command) {
  const words = [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, ...forms]) => forms.find((form) => form !== undefined))
  const options = new Map([
    ['BatchMode', 'yes'],
    ['LogLevel', 'ERROR'],
    ['StrictHostKeyChecking', 'accept-new'],
  ])
  const destination = words.pop()
  for (let index = 1; index < words.length; index++) {
    const value = words[++index]
    if (words[index - 1] === '-p') options.set('Port', value)
    else if (words[index - 1] === '-o') options.set(...value.split(/=(.*)/s, 2))
    else throw new Error(`an SSH command of an unknown form: it has the option ${words[index - 1]}`)
  }
  const at = destination.lastIndexOf('@')
  options.set('User', destination.slice(0, at))
  options.set('HostName', destination.slice(at + 1))
  return [`Host ${HOST}`, ...[...options].map(([key, value]) => `  ${key} "${value}"`), ''].join('\n')
}

/** Brings the files of a local repository into a sandbox, and what is done there back as a branch. */
class Sync {
  #sandbox
  #folder
  #project
  #branch
  #access
  #brought

  /**
   * @param folder   the local repository
   * @param project  the one in the sandbox
   * @param branch   where what is done there goes, in both
   */
  constructor(sandbox, folder, project, branch) {
    this.#sandbox = sandbox
    this.#folder = folder
    this.#project = project
    this.#branch = branch
  }

  get branch() {
    return this.#branch
  }

  /** Puts what the local repository holds into a new one in the sandbox, and what is not committed too. */
  async begin() {
    const name = (await this.#setting('user.name')) || 'OpenCode'
    const email = (await this.#setting('user.email')) || 'opencode@localhost'
    await expect(
      this.#sandbox,
      `mkdir -p ${quote(this.#project)} && cd ${quote(this.#project)} && git init -q &&
        git symbolic-ref HEAD ${quote(`refs/heads/${this.#branch}`)} && git config receive.shallowUpdate true &&
        git config user.name ${quote(name)} && git config user.email ${quote(email)}`,
    )
    const commit = await this.#commitOfAll(name, email)
    if (!commit) return
    await this.#withSsh((env) => git(this.#folder, ['push', '--quiet', this.#url, `${commit}:refs/opencode/begin`], { env }))
    await expect(this.#sandbox, 'git reset -q --hard refs/opencode/begin', { cwd: this.#project })
    this.#brought = commit
  }

  /**
   * Commits what was done in the sandbox, and brings it to the local branch.
   *
   * @returns {Promise<string | undefined>} the commit; undefined if there is nothing new
   */
  async collect(message) {
    const head = (
      await expect(
        this.#sandbox,
        'git add -A && { git diff --cached --quiet || git commit -q --no-verify -m "$MESSAGE"; } && { git rev-parse -q --verify HEAD || true; }',
        { cwd: this.#project, env: { MESSAGE: message } },
      )
    ).trim()
    if (head === '' || head === this.#brought) return undefined
    const ref = `refs/daytona/${this.#sandbox.id}`
    await this.#withSsh((env) => git(this.#folder, ['fetch', '--quiet', '--no-tags', this.#url, `+HEAD:${ref}`], { env }))
    try {
      await this.#forward(ref)
    } catch (error) {
      throw new Error(
        `the local branch ${this.#branch} was not moved; what was done in the sandbox is at ${ref}: git merge ${ref} takes it`,
        { cause: error },
      )
    }
    this.#brought = head
    return head
  }

  async #forward(ref) {
    const current = await git(this.#folder, ['symbolic-ref', '-q', '--short', 'HEAD'], { accept: [0, 1] })
    if (current === this.#branch) await git(this.#folder, ['merge', '--quiet', '--ff-only', ref])
    else await git(this.#folder, ['fetch', '--quiet', '.', `${ref}:refs/heads/${this.#branch}`])
  }

  get #url() {
    return `${HOST}:${this.#project}`
  }

  #setting(key) {
    return git(this.#folder, ['config', '--get', key], { accept: [0, 1] })
  }

  /** A commit of the files as they are, without touching the index. */
  async #commitOfAll(name, email) {
    const folder = await mkdtemp(join(tmpdir(), 'opencode-index-'))
    try {
      const env = { GIT_INDEX_FILE: join(folder, 'index') }
      const index = await git(this.#folder, ['rev-parse', '--git-path', 'index'])
      // A copy knows which files have not changed. A repository without commits may have none.
      await copyFile(resolve(this.#folder, index), env.GIT_INDEX_FILE).catch(() => {})
      await git(this.#folder, ['add', '-A'], { env })
      const tree = await git(this.#folder, ['write-tree'], { env })
      const head = await git(this.#folder, ['rev-parse', '-q', '--verify', 'HEAD'], { accept: [0, 1, 128] })
      if (head && tree === (await git(this.#folder, ['rev-parse', 'HEAD^{tree}']))) return head
      if (!head && (await git(this.#folder, ['ls-files'], { env })) === '') return undefined
      const identity = ['-c', `user.name=${name}`, '-c', `user.email=${email}`]
      const parents = head ? ['-p', head] : []
      return await git(this.#folder, [...identity, 'commit-tree', tree, ...parents, '-m', 'What was not committed'])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** The token is in a file that only this user reads: everybody sees the arguments of a process. */
  async #withSsh(work) {
    if (!this.#access || Date.parse(this.#access.expiresAt) < Date.now() + LIMIT) {
      this.#access = await this.#sandbox.createSshAccess(ACCESS)
    }
    const folder = await mkdtemp(join(tmpdir(), 'opencode-ssh-'))
    try {
      const config = join(folder, 'config')
      await writeFile(config, sshConfig(this.#access.sshCommand), { mode: 0o600 })
      return await work({ GIT_SSH_COMMAND: `ssh -F ${quote(config)}`, GIT_SSH_VARIANT: 'ssh' })
    } catch (error) {
      // It may have been taken back meanwhile.
      this.#access = undefined
      throw error
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

/** Whether a folder is the root of a repository that git knows. */
async function isRepository(folder) {
  try {
    return (await git(folder, ['rev-parse', '--is-inside-work-tree'])) === 'true'
  } catch {
    return false
  }
}

module.exports = { Sync, isRepository, sshConfig }
