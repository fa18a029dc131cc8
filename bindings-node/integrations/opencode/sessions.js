'use strict'

const { basename, posix, relative, sep } = require('node:path')
const { Daytona, DaytonaNotFoundError } = require('daytona-native')
const { Sync, isRepository } = require('./sync')
const { expect, quote } = require('./run')

/** How long a sandbox is taken for started after it was asked, in milliseconds. */
const FRESH = 30_000
const SESSION = 'opencode-session'
/** What a sandbox does not come back from. */
const LOST = ['error', 'build_failed', 'destroying', 'destroyed']

/** The sandbox of a session, and where the project is in it. */
class Workspace {
  #checked = Date.now()
  #collecting = Promise.resolve()
  #starting

  constructor(sandbox, { project, folder, sync, home }) {
    this.sandbox = sandbox
    /** The project's folder in the sandbox. */
    this.project = project
    /** The project's folder on this machine. */
    this.folder = folder
    this.sync = sync
    this.home = home
    this.languageServers = new Map()
  }

  /** A path of the sandbox, from one that may be relative to the project, or of the project on this machine. */
  path(path, base = this.project) {
    if (path == null || path === '') return base
    if (path === '~' || path.startsWith('~/')) return posix.join(this.home, path.slice(1))
    const inside = relative(this.folder, path)
    if (path.startsWith(this.folder) && !inside.startsWith('..')) return posix.join(this.project, ...inside.split(sep))
    return posix.resolve(base, path)
  }

  /** Starts the sandbox if it has stopped. */
  async wake() {
    if (Date.now() - this.#checked < FRESH) return this
    this.#starting ??= this.#start().finally(() => (this.#starting = undefined))
    await this.#starting
    return this
  }

  async #start() {
    await this.sandbox.refreshData()
    if (this.sandbox.state !== 'started') await this.sandbox.start()
    this.#checked = Date.now()
  }

  /** Brings what was done to the local branch; one after the other. */
  collect(message) {
    const collected = this.#collecting.then(async () => {
      await this.wake()
      return this.sync?.collect(message)
    })
    this.#collecting = collected.catch(() => {})
    return collected
  }
}

/** The sandboxes of the sessions. A sandbox carries its session as a label, so that it is found again. */
class Sessions {
  #host
  #options
  #client
  #workspaces = new Map()
  #roots = new Map()

  constructor(host, options) {
    this.#host = host
    this.#options = options
  }

  /** Made when it is needed: without a key everything else of OpenCode works. */
  get client() {
    return (this.#client ??= new Daytona(this.#options.daytona))
  }

  /** The workspace of a session, made at its first use. Those of subagents have that of the session they work for. */
  async workspace(sessionID) {
    const root = await this.root(sessionID)
    let workspace = this.#workspaces.get(root)
    if (!workspace) {
      workspace = this.#open(root)
      this.#workspaces.set(root, workspace)
      workspace.catch(() => this.#workspaces.delete(root))
    }
    return (await workspace).wake()
  }

  /** The workspace of a session that has been used here, if there is one. */
  async opened(sessionID) {
    return this.#workspaces.get(await this.root(sessionID))
  }

  /** The session that a chain of subagents works for. */
  async root(sessionID) {
    let root = this.#roots.get(sessionID)
    if (root === undefined) {
      const { data } = (await this.#host.client?.session?.get?.({ path: { id: sessionID } })) ?? {}
      root = data?.parentID ? await this.root(data.parentID) : sessionID
      this.#roots.set(sessionID, root)
    }
    return root
  }

  /** What a session is called. */
  async title(sessionID) {
    const { data } = (await this.#host.client?.session?.get?.({ path: { id: sessionID } })) ?? {}
    return data?.title ?? sessionID
  }

  /** Deletes the sandbox of a session, if it has one. */
  async remove(sessionID) {
    const workspace = await this.#workspaces.get(sessionID)
    this.#workspaces.delete(sessionID)
    const sandbox = workspace?.sandbox ?? (await this.#find(sessionID))
    await sandbox?.delete().catch((error) => {
      if (!(error instanceof DaytonaNotFoundError)) throw error
    })
  }

  async #find(root) {
    for await (const { id, state } of this.client.list({ labels: { [SESSION]: root } })) {
      if (!LOST.includes(state)) return this.client.get(id)
    }
    return undefined
  }

  async #open(root) {
    const { worktree, directory } = this.#host
    // Outside of repositories OpenCode's worktree is the root of the file system.
    const folder = worktree && worktree !== '/' ? worktree : directory
    const found = await this.#find(root)
    if (found && found.state !== 'started') await found.start()
    const sandbox = found ?? (await this.#create(root))
    try {
      const [home, work] = await Promise.all([sandbox.getUserHomeDir(), sandbox.getWorkDir()])
      const project = posix.join(work, basename(folder) || 'project')
      const synced = this.#options.sync !== false && (await isRepository(folder))
      const sync = synced ? new Sync(sandbox, folder, project, `opencode/${sandbox.id.slice(0, 8)}`) : undefined
      if (!found) await (sync ? sync.begin() : expect(sandbox, `mkdir -p ${quote(project)}`))
      return new Workspace(sandbox, { project, folder, sync, home })
    } catch (error) {
      // Half made it would be found as if it were whole.
      if (!found) await sandbox.delete().catch(() => {})
      throw error
    }
  }

  #create(root) {
    const { labels, ...create } = this.#options.create ?? {}
    return this.client.create({ ...create, labels: { ...labels, [SESSION]: root } })
  }
}

module.exports = { Sessions }
