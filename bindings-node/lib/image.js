'use strict'

const os = require('node:os')
const path = require('node:path')
const { native } = require('./native')
const { invalid, toError } = require('./errors')
const { json, list, optionalMembers, text, texts } = require('./arguments')
const shapes = require('./shapes')

/** `~` and `~+` at the beginning of a path, as the official client reads them. */
function local(name, given) {
  text(name, given)
  if (!given.startsWith('~')) return { given, expanded: given }
  const expanded = given.startsWith('~+')
    ? path.join(process.cwd(), given.slice(2))
    : path.join(os.homedir(), given.slice(1))
  return { given, expanded }
}

function words(name, given) {
  for (const word of list(name, given)) text(`${name} must only contain strings: one`, word)
  return given
}

function flat(name, given) {
  return words(name, [given].flat(Infinity))
}

function pip(options, shape = shapes.PipInstallOptions) {
  const { findLinks, indexUrl, extraIndexUrls, pre, extraOptions } = optionalMembers('options', options, shape)
  return { findLinks, indexUrl, extraIndexUrls, pre: Boolean(pre), extraOptions }
}

class Image {
  _dockerfile = ''
  _contextList = []

  static base(image) {
    return new Image().#add('base', { image: text('image', image) })
  }

  static debianSlim(pythonVersion) {
    return new Image().#add('debian_slim', { pythonVersion: pythonVersion || undefined })
  }

  static fromDockerfile(file, options) {
    const strictContext = Boolean(optionalMembers('options', options, shapes.ContextOptions).strictContext)
    return new Image().#add('from_dockerfile', { path: local('path', file), strictContext })
  }

  get dockerfile() {
    return this._dockerfile
  }

  get contextList() {
    return this._contextList
  }

  pipInstall(packages, options) {
    return this.#add('pip_install', { packages: flat('packages', packages), options: pip(options) })
  }

  pipInstallFromRequirements(requirementsTxt, options) {
    const file = local('requirementsTxt', requirementsTxt)
    return this.#add('pip_install_from_requirements', { path: file, options: pip(options) })
  }

  pipInstallFromPyproject(pyprojectToml, options) {
    const file = local('pyprojectToml', pyprojectToml)
    const given = pip(options, shapes.PyprojectOptions)
    const optionalDependencies = options?.optionalDependencies ?? []
    return this.#add('pip_install_from_pyproject', { path: file, optionalDependencies, options: given })
  }

  addLocalFile(localPath, remotePath) {
    return this.#add('add_local_file', {
      path: local('localPath', localPath),
      remotePath: text('remotePath', remotePath),
    })
  }

  addLocalDir(localPath, remotePath) {
    return this.#add('add_local_dir', {
      path: local('localPath', localPath),
      remotePath: text('remotePath', remotePath),
    })
  }

  runCommands(...commands) {
    for (const command of commands) {
      if (Array.isArray(command)) words('commands', command)
      else text('a command', command)
    }
    return this.#add('run_commands', { commands })
  }

  env(envVars) {
    const variables = Object.entries(texts('envVars', envVars))
    return this.#add('env', { variables })
  }

  workdir(dirPath) {
    return this.#add('workdir', { path: text('dirPath', dirPath) })
  }

  entrypoint(entrypointCommands) {
    return this.#add('entrypoint', { command: words('entrypointCommands', entrypointCommands) })
  }

  cmd(cmd) {
    return this.#add('cmd', { command: words('cmd', cmd) })
  }

  dockerfileCommands(dockerfileCommands, contextDir, options) {
    return this.#add('dockerfile_commands', {
      commands: words('dockerfileCommands', dockerfileCommands),
      contextDir: contextDir ? local('contextDir', contextDir) : undefined,
      strictContext: Boolean(optionalMembers('options', options, shapes.ContextOptions).strictContext),
    })
  }

  toJSON() {
    return { dockerfile: this._dockerfile, contextList: this._contextList }
  }

  #add(step, values) {
    const outcome = native.imageStep(json({ step, ...values }))
    if (typeof outcome === 'string') throw toError(outcome)
    const { dockerfile, contextList } = JSON.parse(outcome.added)
    this._dockerfile += dockerfile
    this._contextList.push(...contextList)
    return this
  }
}

/** The image of a request: a name, or the parts of one that is to be built. */
function imageOf(image) {
  if (image == null || typeof image === 'string' || image instanceof Image) return image
  // Of another copy of this package, or of the official one.
  if (typeof image?.dockerfile === 'string' && Array.isArray(image.contextList)) {
    return { dockerfile: image.dockerfile, contextList: image.contextList }
  }
  throw invalid('image must be the name of an image or an Image')
}

module.exports = { Image, imageOf }
