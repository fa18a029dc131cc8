'use strict'

const {
  CallOptions,
  SignalOptions,
  abortSignal,
  action,
  anything,
  date,
  either,
  flag,
  listOf,
  mapOf,
  members,
  number,
  object,
  text,
  texts,
} = require('./arguments')

// The members of what callers write, by the names that the declarations have for it; `tests/node/params.test.mjs`
// compares the two. A member that is not here is refused with the nearest one that is.

/** A member that is such an object itself. */
const shaped = (shape) => (name, value) => members(name, value, shape)
const oneOrMore = either('a string or an array of strings', text, listOf(text))
const source = either(
  'a string or bytes',
  text,
  (_, value) => {
    if (!ArrayBuffer.isView(value) && !(value instanceof ArrayBuffer)) throw new TypeError()
  },
)

const DaytonaConfig = {
  apiKey: text,
  jwtToken: text,
  organizationId: text,
  apiUrl: text,
  serverUrl: text,
  target: text,
  otelEnabled: flag,
  useDeprecatedPolling: flag,
  requestTimeoutMs: number,
  maxResponseBytes: number,
  _experimental: mapOf(anything),
}

const LocalOptions = {
  requestTimeoutMs: number,
  maxResponseBytes: number,
  target: text,
  otelEnabled: flag,
  dataDir: text,
  runtime: text,
}

const Resources = {
  cpu: number,
  gpu: number,
  gpuType: oneOrMore,
  memory: number,
  disk: number,
}

const VolumeMount = { volumeId: text, mountPath: text, subpath: text }

const CreateSandboxBaseParams = {
  name: text,
  user: text,
  language: text,
  envVars: texts,
  labels: texts,
  public: flag,
  autoStopInterval: number,
  autoPauseInterval: number,
  autoArchiveInterval: number,
  autoDeleteInterval: number,
  ttlMinutes: number,
  queueTimeout: number,
  volumes: listOf(shaped(VolumeMount)),
  networkBlockAll: flag,
  networkAllowList: text,
  domainAllowList: text,
  outboundProxyUrl: text,
  otelEndpointOverride: text,
  ephemeral: flag,
  spot: flag,
  kvm: flag,
  target: text,
  linkedSandbox: text,
  secrets: texts,
}

/** What `create` of a client takes, from a snapshot or from an image. */
const CreateSandboxParams = {
  ...CreateSandboxBaseParams,
  snapshot: text,
  image: anything,
  resources: shaped(Resources),
}

const CreateSandboxOptions = {
  timeout: number,
  onSnapshotCreateLogs: action,
  onUploadProgress: action,
  signal: abortSignal,
}

const ListSandboxesQuery = {
  limit: number,
  sort: text,
  order: text,
  id: text,
  name: text,
  labels: texts,
  states: listOf(text),
  snapshots: listOf(text),
  targets: listOf(text),
  sandboxClasses: listOf(text),
  minCpu: number,
  maxCpu: number,
  minMemoryGib: number,
  maxMemoryGib: number,
  minDiskGib: number,
  maxDiskGib: number,
  isPublic: flag,
  isRecoverable: flag,
  createdAtAfter: date,
  createdAtBefore: date,
  lastActivityAfter: date,
  lastActivityBefore: date,
  autoDestroyAtAfter: date,
  autoDestroyAtBefore: date,
}

const UpdateSandboxNetworkSettings = { networkBlockAll: flag, networkAllowList: text, domainAllowList: text }
const ForkSandboxParams = { name: text }
const RecoverOptions = { ...CallOptions, acceptLoss: flag }
const UpdateEnvOptions = { ...CallOptions, unset: listOf(text) }

const CodeRunParams = { argv: listOf(text), env: texts }
const SessionExecuteRequest = { command: text, runAsync: flag, async: flag, suppressInputEcho: flag }
const PtyCreateOptions = { id: text, cwd: text, envs: texts, cols: number, rows: number }
const PtyConnectOptions = { onData: action }
const PtyReconnectOptions = { ...PtyConnectOptions, replay: flag }

const RunCodeOptions = {
  context: object,
  envs: texts,
  timeout: number,
  onStdout: action,
  onStderr: action,
  onError: action,
  onResult: action,
  results: flag,
  signal: abortSignal,
}

const FilePermissionsParams = { group: text, mode: text, owner: text }
const FileUpload = { source, destination: text }
const FileDownloadRequest = { source: text, destination: text }
const StreamOptions = { onProgress: action, signal: abortSignal, timeout: number }
const ListFilesOptions = { ...CallOptions, depth: number }
const Position = { line: number, character: number }

const PipInstallOptions = {
  findLinks: listOf(text),
  indexUrl: text,
  extraIndexUrls: listOf(text),
  pre: flag,
  extraOptions: text,
}
const PyprojectOptions = { ...PipInstallOptions, optionalDependencies: listOf(text) }
const ContextOptions = { strictContext: flag }

const ListSnapshotsQuery = { page: number, limit: number, sourceSandboxId: text }
const CreateSnapshotParams = {
  name: text,
  image: anything,
  resources: shaped(Resources),
  entrypoint: listOf(text),
  regionId: text,
  sandboxClass: text,
}
const CreateSnapshotOptions = { ...CallOptions, onLogs: action, onUploadProgress: action }

const CreateSecretParams = { name: text, value: text, description: text, hosts: listOf(text) }
const UpdateSecretParams = { value: text, description: text, hosts: listOf(text) }
const ListSecretsQuery = { cursor: text, limit: number, name: text, sort: text, order: text }
const CreateWarmPool = { snapshot: text, pool: number, target: text }
const UpdateWarmPool = { pool: number }

const CreateApiKeyParams = { name: text, permissions: listOf(text), expiresAt: date }
const RegistryParams = { name: text, url: text, username: text, password: text, project: text }
const AuditQuery = { page: number, limit: number, from: date, to: date, nextToken: text }

const TerminalRunOptions = { cwd: text, env: texts, timeout: number, signal: abortSignal }
const TerminalStdinOptions = { ...TerminalRunOptions, stdin: source }
const TerminalBackendOptions = { daytona: anything, taskId: text }
const SandboxProviderOptions = { apiKey: text }
const TerminateOptions = { ...SignalOptions, force: flag }

const FlueOptions = { runtime: object }
const DaytonaPluginOptions = {
  sandboxed: flag,
  sync: flag,
  create: shaped(CreateSandboxParams),
  daytona: shaped(DaytonaConfig),
  colons: flag,
}

module.exports = {
  AuditQuery,
  CallOptions,
  CodeRunParams,
  ContextOptions,
  CreateApiKeyParams,
  CreateSandboxBaseParams,
  CreateSandboxOptions,
  CreateSandboxParams,
  CreateSecretParams,
  CreateSnapshotOptions,
  CreateSnapshotParams,
  CreateWarmPool,
  DaytonaConfig,
  DaytonaPluginOptions,
  DownloadStreamOptions: StreamOptions,
  FileDownloadRequest,
  FilePermissionsParams,
  FileUpload,
  FlueOptions,
  ForkSandboxParams,
  ListFilesOptions,
  ListSandboxesQuery,
  ListSecretsQuery,
  ListSnapshotsQuery,
  LocalOptions,
  PipInstallOptions,
  Position,
  PtyConnectOptions,
  PtyCreateOptions,
  PtyReconnectOptions,
  PyprojectOptions,
  RecoverOptions,
  RegistryParams,
  Resources,
  RunCodeOptions,
  SandboxProviderOptions,
  SessionExecuteRequest,
  SignalOptions,
  TerminalBackendOptions,
  TerminalRunOptions,
  TerminalStdinOptions,
  TerminateOptions,
  UpdateEnvOptions,
  UpdateSandboxNetworkSettings,
  UpdateSecretParams,
  UpdateWarmPool,
  UploadStreamOptions: StreamOptions,
  VolumeMount,
}
