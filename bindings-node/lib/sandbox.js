'use strict'

const { call, result } = require('./call')
const { FileSystem } = require('./files')
const { Git } = require('./git')
const { CodeInterpreter } = require('./interpreter')
const { createLspServer } = require('./lsp')
const { Process } = require('./process')
const {
  flag,
  integer,
  json,
  limit,
  optionalFlag,
  optionalMembers,
  optionalText,
  signalOptions,
  text,
  texts,
  time,
} = require('./arguments')
const shapes = require('./shapes')

const sample = (values) => ({ ...values, timestamp: new Date(values.timestamp) })

function answer(options, start) {
  return call(start, { convert: JSON.parse, signal: options?.signal })
}

class Sandbox {
  #native
  #codeInterpreter
  #fs
  #git
  #process

  constructor(native, data) {
    this.#native = native
    this.#update(data)
  }

  get codeInterpreter() {
    return (this.#codeInterpreter ??= new CodeInterpreter(this.#native))
  }

  get fs() {
    return (this.#fs ??= new FileSystem(this.#native))
  }

  get git() {
    return (this.#git ??= new Git(this.#native))
  }

  get process() {
    return (this.#process ??= new Process(this.#native))
  }

  /**
   * What the server says of a sandbox; all of it is a property of the object. Written out: a loop
   * over the names makes slow objects, and lists are long.
   */
  #update(data) {
    this.id = data.id
    this.name = data.name
    this.organizationId = data.organizationId
    this.snapshot = data.snapshot
    this.user = data.user
    this.env = data.env
    this.labels = data.labels
    this.public = data.public
    this.target = data.target
    this.cpu = data.cpu
    this.gpu = data.gpu
    this.spot = data.spot
    this.spotEvictedAt = data.spotEvictedAt
    this.queueTimedOutAt = data.queueTimedOutAt
    this.queueTimeout = data.queueTimeout
    this.gpuType = data.gpuType
    this.memory = data.memory
    this.disk = data.disk
    this.state = data.state
    this.desiredState = data.desiredState
    this.errorReason = data.errorReason
    this.recoverable = data.recoverable
    this.backupState = data.backupState
    this.backupCreatedAt = data.backupCreatedAt
    this.autoStopInterval = data.autoStopInterval
    this.autoPauseInterval = data.autoPauseInterval
    this.autoArchiveInterval = data.autoArchiveInterval
    this.autoDeleteInterval = data.autoDeleteInterval
    this.autoDestroyAt = data.autoDestroyAt
    this.volumes = data.volumes
    this.buildInfo = data.buildInfo
    this.createdAt = data.createdAt
    this.updatedAt = data.updatedAt
    this.lastActivityAt = data.lastActivityAt
    this.networkBlockAll = data.networkBlockAll
    this.networkAllowList = data.networkAllowList
    this.domainAllowList = data.domainAllowList
    this.outboundProxyUrl = data.outboundProxyUrl
    this.otelEndpointOverride = data.otelEndpointOverride
    this.linkedSandboxId = data.linkedSandboxId
    this.sandboxClass = data.sandboxClass
    this.warmPoolId = data.warmPoolId
    this.daemonVersion = data.daemonVersion
    this.runnerId = data.runnerId
    this.kvm = data.kvm
    this.toolboxProxyUrl = data.toolboxProxyUrl
  }

  /** A call after which the sandbox may be another, whether it fails or not. */
  #change(options, start) {
    const changed = (data) => this.#update(JSON.parse(data))
    return call(start, { convert: changed, changed, signal: options?.signal })
  }

  async refreshData(options) {
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.refreshData(id, seconds)))
  }

  async start(timeout, options) {
    const seconds = limit(timeout, options)
    return result(await this.#change(options, (id) => this.#native.start(id, seconds)))
  }

  async stop(timeout, force = false, options) {
    const seconds = limit(timeout, options)
    const kill = optionalFlag('force', force)
    return result(await this.#change(options, (id) => this.#native.stop(id, seconds, kill)))
  }

  async delete(timeout, wait = false, options) {
    const seconds = limit(timeout, options)
    const until = optionalFlag('wait', wait)
    return result(await this.#change(options, (id) => this.#native.delete(id, seconds, until)))
  }

  async pause(timeout, options) {
    const seconds = limit(timeout, options)
    return result(await this.#change(options, (id) => this.#native.pause(id, seconds)))
  }

  async archive(options) {
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.archive(id, seconds)))
  }

  async recover(timeout, options) {
    const seconds = limit(timeout, options, shapes.RecoverOptions)
    const acceptLoss = options?.acceptLoss ?? false
    return result(await this.#change(options, (id) => this.#native.recover(id, seconds, acceptLoss)))
  }

  async resize(resources, timeout, options) {
    const { gpuType, ...rest } = optionalMembers('resources', resources, shapes.Resources)
    const resourcesText = json({ ...rest, gpuType: gpuType == null ? undefined : [gpuType].flat() })
    const seconds = limit(timeout, options)
    return result(await this.#change(options, (id) => this.#native.resize(id, resourcesText, seconds)))
  }

  async waitForResizeComplete(timeout, options) {
    const seconds = limit(timeout, options)
    return result(await this.#change(options, (id) => this.#native.waitForResizeComplete(id, seconds)))
  }

  async fork(params, timeout, options) {
    const name = optionalText('name', optionalMembers('params', params, shapes.ForkSandboxParams).name)
    const seconds = limit(timeout, options)
    const convert = (handle, data) => new Sandbox(handle, JSON.parse(data))
    return result(await call((id) => this.#native.fork(id, name, seconds), { convert, signal: options?.signal }))
  }

  async _experimental_fork(params, timeout, options) {
    return await this.fork(params, timeout, options)
  }

  async createSnapshot(name, timeout, options) {
    text('name', name)
    const seconds = limit(timeout, options)
    return result(await this.#change(options, (id) => this.#native.createSnapshot(id, name, seconds)))
  }

  async _experimental_createSnapshot(name, timeout, options) {
    return await this.createSnapshot(name, timeout, options)
  }

  async waitUntilStarted(timeout, options) {
    const seconds = limit(timeout, options)
    return result(await this.#change(options, (id) => this.#native.waitUntilStarted(id, seconds)))
  }

  async waitUntilStopped(timeout, options) {
    const seconds = limit(timeout, options)
    return result(await this.#change(options, (id) => this.#native.waitUntilStopped(id, seconds)))
  }

  async setLabels(labels, options) {
    const labelsText = json(texts('labels', labels))
    const seconds = limit(undefined, options)
    result(await this.#change(options, (id) => this.#native.setLabels(id, labelsText, seconds)))
    return this.labels
  }

  async setAutostopInterval(interval, options) {
    integer('autoStopInterval', interval)
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.setAutostopInterval(id, interval, seconds)))
  }

  async setAutoPauseInterval(interval, options) {
    integer('autoPauseInterval', interval)
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.setAutoPauseInterval(id, interval, seconds)))
  }

  async setAutoArchiveInterval(interval, options) {
    integer('autoArchiveInterval', interval)
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.setAutoArchiveInterval(id, interval, seconds)))
  }

  async setAutoDeleteInterval(interval, options) {
    integer('autoDeleteInterval', interval)
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.setAutoDeleteInterval(id, interval, seconds)))
  }

  async setTtl(ttlMinutes, options) {
    integer('ttlMinutes', ttlMinutes)
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.setTtl(id, ttlMinutes, seconds)))
  }

  async setPublic(isPublic, options) {
    flag('isPublic', isPublic)
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.setPublic(id, isPublic, seconds)))
  }

  async updateNetworkSettings(settings, options) {
    const settingsText = json(optionalMembers('settings', settings, shapes.UpdateSandboxNetworkSettings))
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.updateNetworkSettings(id, settingsText, seconds)))
  }

  async updateEnv(env, options) {
    const seconds = limit(undefined, options, shapes.UpdateEnvOptions)
    const [set, removed] = [json(texts('env', env)), json(options?.unset ?? [])]
    return result(await call((id) => this.#native.updateEnv(id, set, removed, seconds), { signal: options?.signal }))
  }

  async updateSecrets(secrets, options) {
    const secretsText = json(texts('secrets', secrets))
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.updateSecrets(id, secretsText, seconds)))
  }

  async getMetricsLatest(options) {
    const seconds = limit(undefined, options)
    const convert = (text) => sample(JSON.parse(text))
    return result(await call((id) => this.#native.metricsLatest(id, seconds), { convert, signal: options?.signal }))
  }

  async getMetrics(start, end, options) {
    const [from, to] = [time('start', start), time('end', end)]
    const seconds = limit(undefined, options)
    const convert = (text) => JSON.parse(text).map(sample)
    return result(await call((id) => this.#native.metrics(id, from, to, seconds), { convert, signal: options?.signal }))
  }

  async refreshActivity(options) {
    const seconds = limit(undefined, options)
    return result(await this.#change(options, (id) => this.#native.refreshActivity(id, seconds)))
  }

  async createLspServer(languageId, pathToProject) {
    return await createLspServer(this.#native, languageId, pathToProject)
  }

  async getUserHomeDir(options) {
    signalOptions(options)
    return result(await call((id) => this.#native.userHomeDir(id), { signal: options?.signal }))
  }

  async getUserRootDir(options) {
    return await this.getUserHomeDir(options)
  }

  async getWorkDir(options) {
    signalOptions(options)
    return result(await call((id) => this.#native.workDir(id), { signal: options?.signal }))
  }

  async downloadUrl(path, ttlSeconds, options) {
    text('path', path)
    const ttl = ttlSeconds == null ? undefined : integer('ttlSeconds', ttlSeconds)
    signalOptions(options)
    return result(await call((id) => this.#native.downloadUrl(id, path, ttl), { signal: options?.signal }))
  }

  async uploadUrl(path, ttlSeconds, options) {
    text('path', path)
    const ttl = ttlSeconds == null ? undefined : integer('ttlSeconds', ttlSeconds)
    signalOptions(options)
    return result(await call((id) => this.#native.uploadUrl(id, path, ttl), { signal: options?.signal }))
  }

  async rotateSigningKey(options) {
    signalOptions(options)
    return result(await call((id) => this.#native.rotateSigningKey(id), { signal: options?.signal }))
  }

  async getPreviewLink(port, options) {
    integer('port', port)
    const seconds = limit(undefined, options)
    return result(await answer(options, (id) => this.#native.getPreviewLink(id, port, seconds)))
  }

  async getSignedPreviewUrl(port, expiresInSeconds, options) {
    integer('port', port)
    const life = expiresInSeconds == null ? undefined : integer('expiresInSeconds', expiresInSeconds)
    const seconds = limit(undefined, options)
    return result(await answer(options, (id) => this.#native.createSignedPreviewUrl(id, port, life, seconds)))
  }

  async expireSignedPreviewUrl(port, token, options) {
    integer('port', port)
    text('token', token)
    const seconds = limit(undefined, options)
    result(await answer(options, (id) => this.#native.expireSignedPreviewUrl(id, port, token, seconds)))
  }

  async createSshAccess(expiresInMinutes, options) {
    const life = expiresInMinutes == null ? undefined : integer('expiresInMinutes', expiresInMinutes)
    const seconds = limit(undefined, options)
    return result(await answer(options, (id) => this.#native.createSshAccess(id, life, seconds)))
  }

  async revokeSshAccess(token, options) {
    text('token', token)
    const seconds = limit(undefined, options)
    result(await answer(options, (id) => this.#native.revokeSshAccess(id, token, seconds)))
  }

  async validateSshAccess(token, options) {
    text('token', token)
    const seconds = limit(undefined, options)
    return result(await answer(options, (id) => this.#native.validateSshAccess(id, token, seconds)))
  }
}

module.exports = { Sandbox }
