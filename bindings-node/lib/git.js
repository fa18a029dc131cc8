'use strict'

const { call, result } = require('./call')
const { flag, integer, json, limit, list, optionalFlag, optionalText, text } = require('./arguments')

const fromJson = (options) => ({ convert: (value) => JSON.parse(value), signal: options?.signal })
const orUndefined = (options) => ({ convert: (value) => JSON.parse(value) ?? undefined, signal: options?.signal })

class Git {
  #native

  constructor(native) {
    this.#native = native
  }

  async #send(method, request, options) {
    const body = json(request)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native[method](id, body, seconds), { signal: options?.signal }))
  }

  async add(path, files, options) {
    text('path', path)
    const filesText = json(list('files', files))
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.gitAdd(id, path, filesText, seconds), { signal: options?.signal }))
  }

  async branches(path, options) {
    text('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.gitBranches(id, path, seconds), fromJson(options)))
  }

  async createBranch(path, name, options) {
    text('path', path)
    text('name', name)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.gitCreateBranch(id, path, name, seconds), { signal: options?.signal }),
    )
  }

  async deleteBranch(path, name, options) {
    text('path', path)
    text('name', name)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.gitDeleteBranch(id, path, name, seconds), { signal: options?.signal }),
    )
  }

  async checkoutBranch(path, branch, options) {
    text('path', path)
    text('branch', branch)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.gitCheckoutBranch(id, path, branch, seconds), { signal: options?.signal }),
    )
  }

  async clone(url, path, branch, commitId, username, password, insecureSkipTls, depth, options) {
    const request = {
      url: text('url', url),
      path: text('path', path),
      branch: optionalText('branch', branch),
      commit_id: optionalText('commitId', commitId),
      username: optionalText('username', username),
      password: optionalText('password', password),
      insecure_skip_tls: insecureSkipTls == null ? undefined : flag('insecureSkipTls', insecureSkipTls),
      depth: depth == null ? undefined : integer('depth', depth),
    }
    return await this.#send('gitClone', request, options)
  }

  async commit(path, message, author, email, allowEmpty, options) {
    const request = json({
      path: text('path', path),
      message: text('message', message),
      author: text('author', author),
      email: text('email', email),
      allow_empty: optionalFlag('allowEmpty', allowEmpty),
    })
    const seconds = limit(undefined, options)
    const convert = (value) => ({ sha: JSON.parse(value) })
    return result(
      await call((id) => this.#native.gitCommit(id, request, seconds), { convert, signal: options?.signal }),
    )
  }

  async push(path, username, password, branch, remote, setUpstream, options) {
    const request = {
      path: text('path', path),
      username: optionalText('username', username),
      password: optionalText('password', password),
      branch: optionalText('branch', branch),
      remote: optionalText('remote', remote),
      set_upstream: optionalFlag('setUpstream', setUpstream),
    }
    return await this.#send('gitPush', request, options)
  }

  async pull(path, username, password, branch, remote, options) {
    const request = {
      path: text('path', path),
      username: optionalText('username', username),
      password: optionalText('password', password),
      branch: optionalText('branch', branch),
      remote: optionalText('remote', remote),
    }
    return await this.#send('gitPull', request, options)
  }

  async status(path, options) {
    text('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.gitStatus(id, path, seconds), fromJson(options)))
  }

  async init(path, bare, initialBranch, options) {
    const request = {
      path: text('path', path),
      bare: optionalFlag('bare', bare),
      initial_branch: optionalText('initialBranch', initialBranch),
    }
    return await this.#send('gitInit', request, options)
  }

  async reset(path, mode, target, files, options) {
    const request = {
      path: text('path', path),
      mode: optionalText('mode', mode),
      target: optionalText('target', target),
      files: files == null ? undefined : list('files', files),
    }
    return await this.#send('gitReset', request, options)
  }

  async restore(path, files, staged, worktree, source, options) {
    const request = {
      path: text('path', path),
      files: list('files', files),
      staged: staged == null ? undefined : flag('staged', staged),
      worktree: worktree == null ? undefined : flag('worktree', worktree),
      source: optionalText('source', source),
    }
    return await this.#send('gitRestore', request, options)
  }

  async remoteAdd(path, name, url, fetch, overwrite, options) {
    const request = {
      path: text('path', path),
      name: text('name', name),
      url: text('url', url),
      fetch: optionalFlag('fetch', fetch),
      overwrite: optionalFlag('overwrite', overwrite),
    }
    return await this.#send('gitRemoteAdd', request, options)
  }

  async remotes(path, options) {
    text('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.gitRemotes(id, path, seconds), fromJson(options)))
  }

  async remoteGet(path, name, options) {
    text('path', path)
    text('name', name)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.gitRemoteGet(id, path, name, seconds), orUndefined(options)))
  }

  async setConfig(key, value, scope = 'global', path, options) {
    const request = {
      key: text('key', key),
      value: text('value', value),
      scope: text('scope', scope),
      path: optionalText('path', path),
    }
    return await this.#send('gitSetConfig', request, options)
  }

  async getConfig(key, scope = 'global', path, options) {
    text('key', key)
    text('scope', scope)
    const folder = optionalText('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.gitGetConfig(id, key, scope, folder, seconds), orUndefined(options)))
  }

  async configureUser(name, email, scope = 'global', path, options) {
    const request = {
      name: text('name', name),
      email: text('email', email),
      scope: text('scope', scope),
      path: optionalText('path', path),
    }
    return await this.#send('gitConfigureUser', request, options)
  }

  async dangerouslyAuthenticate(username, password, host, protocol, options) {
    const request = {
      username: text('username', username),
      password: text('password', password),
      host: optionalText('host', host),
      protocol: optionalText('protocol', protocol),
    }
    return await this.#send('gitDangerouslyAuthenticate', request, options)
  }
}

module.exports = { Git }
