import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import * as native from 'daytona-native'
import { json, startFake } from './support.mjs'

const { Daytona, DaytonaInvalidArgumentError, Image, SandboxProvider, TerminalBackend } = native
const require = createRequire(import.meta.url)
const packageDir = dirname(require.resolve('daytona-native/package.json'))
const shapes = require(join(packageDir, 'lib/shapes.js'))

let fake
let handles
before(async () => {
  // Nothing that a right call asks for is there: what is wrong has to be told before.
  fake = await startFake((request, response) => {
    request.resume()
    json(response, 404, { message: 'not here' })
  })
  const { PtyHandle } = require(join(packageDir, 'lib/pty.js'))
  const { ExecStream } = require(join(packageDir, 'lib/exec_stream.js'))
  const { LspServer } = require(join(packageDir, 'lib/lsp.js'))
  // Their calls of the bridge are never made here.
  const bridge = { close() {} }
  handles = {
    ExecStream: new ExecStream(bridge),
    LspServer: new LspServer(bridge),
    PtyHandle: new PtyHandle(bridge),
    SandboxProvider: new SandboxProvider({ daytonaApiUrl: fake.base }, { apiKey: 'k' }),
    TerminalBackend: new TerminalBackend({}, { daytona: fake.daytona }),
  }
})
after(() => fake.stop())

const config = (more) => ({ apiUrl: 'http://127.0.0.1:1/api', apiKey: 'k', ...more })
const signal = new AbortController().signal
const callOptions = { signal, timeout: 1 }
const signalOptions = { signal }
const position = { line: 0, character: 0 }
const file = { source: Buffer.from('a'), destination: 'a' }
const create = {
  name: 'a',
  user: 'daytona',
  language: 'python',
  envVars: { A: 'b' },
  labels: { a: 'b' },
  public: true,
  autoStopInterval: 5,
  volumes: [{ volumeId: 'v', mountPath: '/v', subpath: 's' }],
  networkBlockAll: true,
  secrets: { A: 'b' },
  target: undefined,
  snapshot: null,
}
const createOptions = { timeout: 1, signal, onSnapshotCreateLogs() {}, onUploadProgress() {} }
const runCode = { context: { id: 'c', cwd: '/', more: 1 }, envs: { A: 'b' }, timeout: 1, onStdout() {}, results: false }
const handle = { provider: 'daytona', externalId: 'a', transport: 'dial-in', provisionedAt: '2026-01-01T00:00:00Z' }
const resources = { cpu: 1, memory: 1, disk: 1 }

/** Every method that takes an object: how to call it with one, and one that is right. `daytona`, `sandbox`, ... are given. */
const OBJECTS = {
  'Daytona.constructor.config': [(value) => new Daytona(value), config({ otelEnabled: false, _experimental: { any: 1 } })],
  'Daytona.local.options': [(value) => Daytona.local(value), { dataDir: '/nonexistent', requestTimeoutMs: 5, target: 'eu', runtime: 'ns' }],
  'Daytona.runtime.options': [(value) => fake.daytona.runtime(value), signalOptions],
  'Daytona.create.params': [(value) => fake.daytona.create(value), create],
  'Daytona.create.options': [(value) => fake.daytona.create({}, value), createOptions],
  'Daytona.get.options': [(value) => fake.daytona.get('gone', value), callOptions],
  'Daytona.list.query': [(value) => fake.daytona.list(value).next(), { labels: { a: 'b' }, states: ['started'], createdAtAfter: new Date() }],
  'Daytona.list.options': [(value) => fake.daytona.list({}, value).next(), callOptions],
  'Daytona.start.options': [(value) => fake.daytona.start(fake.sandbox, 1, value), callOptions],
  'Daytona.stop.options': [(value) => fake.daytona.stop(fake.sandbox, value), callOptions],
  'Daytona.delete.options': [(value) => fake.daytona.delete(fake.sandbox, 1, false, value), callOptions],
  'Daytona.fork.params': [(value) => fake.daytona.fork(fake.sandbox, value), { name: 'a' }],
  'Daytona.fork.options': [(value) => fake.daytona.fork(fake.sandbox, {}, 1, value), callOptions],
  'Daytona._experimental_fork.params': [(value) => fake.daytona._experimental_fork(fake.sandbox, value), { name: 'a' }],
  'Daytona._experimental_fork.options': [(value) => fake.daytona._experimental_fork(fake.sandbox, {}, 1, value), callOptions],
  'Api.createApiKey.params': [(value) => fake.daytona.api.createApiKey(value), { name: 'a', permissions: ['b'], expiresAt: new Date() }],
  'Api.createRegistry.params': [(value) => fake.daytona.api.createRegistry(value), { name: 'a', url: 'u', username: 'n', password: 'p' }],
  'Api.updateRegistry.params': [(value) => fake.daytona.api.updateRegistry('r', value), { name: 'a', url: 'u', username: 'n' }],
  'Api.listAuditLogs.query': [(value) => fake.daytona.api.listAuditLogs('o', value), { page: 1, from: new Date() }],
  'SecretService.list.query': [(value) => fake.daytona.secret.list(value), { limit: 5, name: 'a', sort: 'name' }],
  'SecretService.create.params': [(value) => fake.daytona.secret.create(value), { name: 'A', value: 'b', hosts: ['c'] }],
  'SecretService.update.params': [(value) => fake.daytona.secret.update('A', value), { value: 'b' }],
  'WarmPoolService.create.params': [(value) => fake.daytona.warmPool.create(value), { snapshot: 's', pool: 1 }],
  'WarmPoolService.update.params': [(value) => fake.daytona.warmPool.update('w', value), { pool: 1 }],
  'SnapshotService.list.query': [(value) => fake.daytona.snapshot.list(value), { page: 1, limit: 2, sourceSandboxId: 's' }],
  'SnapshotService.list.options': [(value) => fake.daytona.snapshot.list({}, value), callOptions],
  'SnapshotService.create.params': [(value) => fake.daytona.snapshot.create(value), { name: 'a', image: 'b', resources, entrypoint: ['c'] }],
  'SnapshotService.create.options': [(value) => fake.daytona.snapshot.create({ name: 'a', image: 'b' }, value), { timeout: 1, onLogs() {} }],
  'SnapshotService.buildLogs.options': [(value) => fake.daytona.snapshot.buildLogs('a', value), signalOptions],
  'Sandbox.getUserHomeDir.options': [(value) => fake.sandbox.getUserHomeDir(value), signalOptions],
  'Sandbox.getUserRootDir.options': [(value) => fake.sandbox.getUserRootDir(value), signalOptions],
  'Sandbox.getWorkDir.options': [(value) => fake.sandbox.getWorkDir(value), signalOptions],
  'Sandbox.rotateSigningKey.options': [(value) => fake.sandbox.rotateSigningKey(value), signalOptions],
  'Sandbox.downloadUrl.options': [(value) => fake.sandbox.downloadUrl('a', 1, value), signalOptions],
  'Sandbox.uploadUrl.options': [(value) => fake.sandbox.uploadUrl('a', 1, value), signalOptions],
  'Sandbox.resize.resources': [(value) => fake.sandbox.resize(value), resources],
  'Sandbox.fork.params': [(value) => fake.sandbox.fork(value), { name: 'a' }],
  'Sandbox._experimental_fork.params': [(value) => fake.sandbox._experimental_fork(value), { name: 'a' }],
  'Sandbox.updateNetworkSettings.settings': [(value) => fake.sandbox.updateNetworkSettings(value), { networkBlockAll: true, networkAllowList: '', domainAllowList: '' }],
  'Sandbox.recover.options': [(value) => fake.sandbox.recover(1, value), { ...callOptions, acceptLoss: true }],
  'Sandbox.updateEnv.options': [(value) => fake.sandbox.updateEnv({ A: 'b' }, value), { ...callOptions, unset: ['C'] }],
  'FileSystem.downloadFileStream.options': [(value) => fake.sandbox.fs.downloadFileStream('a', value), { signal, timeout: 1, onProgress() {} }],
  'FileSystem.uploadFileStream.options': [(value) => fake.sandbox.fs.uploadFileStream(Buffer.from('a'), 'a', value), { signal, timeout: 1, onProgress() {} }],
  'FileSystem.downloadFile.options': [(value) => fake.sandbox.fs.downloadFile('a', 1, value), callOptions],
  'FileSystem.downloadFiles.files': [(value) => fake.sandbox.fs.downloadFiles([value]), { source: 'a' }, 'files[0]'],
  'FileSystem.uploadFiles.files': [(value) => fake.sandbox.fs.uploadFiles([value]), file, 'files[0]'],
  'FileSystem.listFiles.options': [(value) => fake.sandbox.fs.listFiles('a', value), { ...callOptions, depth: 2 }],
  'FileSystem.setFilePermissions.permissions': [(value) => fake.sandbox.fs.setFilePermissions('a', value), { mode: '644', owner: 'a', group: 'b' }],
  'Process.codeRun.params': [(value) => fake.sandbox.process.codeRun('1', value), Object.assign(new native.CodeRunParams(), { argv: ['a'], env: { A: 'b' } })],
  'Process.executeSessionCommand.req': [(value) => fake.sandbox.process.executeSessionCommand('s', value), { command: 'a', runAsync: true, async: true, suppressInputEcho: false }],
  'Process.getSessionCommandLogs.options': [(value) => fake.sandbox.process.getSessionCommandLogs('s', 'c', () => {}, () => {}, value), signalOptions],
  'Process.followSessionCommandLogs.options': [(value) => fake.sandbox.process.followSessionCommandLogs('s', 'c', value), signalOptions],
  'Process.getEntrypointLogs.options': [(value) => fake.sandbox.process.getEntrypointLogs(() => {}, () => {}, value), signalOptions],
  'Process.followEntrypointLogs.options': [(value) => fake.sandbox.process.followEntrypointLogs(value), signalOptions],
  'Process.createPty.options': [(value) => fake.sandbox.process.createPty(value), { id: 'p', cwd: '/', envs: { A: 'b' }, cols: 80, rows: 24, onData() {} }],
  'Process.createPty.callOptions': [(value) => fake.sandbox.process.createPty({ id: 'p' }, value), signalOptions],
  'Process.connectPty.options': [(value) => fake.sandbox.process.connectPty('p', value), { onData() {}, replay: true }],
  'Process.connectPty.callOptions': [(value) => fake.sandbox.process.connectPty('p', {}, value), signalOptions],
  'CodeInterpreter.runCode.options': [(value) => fake.sandbox.codeInterpreter.runCode('1', value), runCode],
  'LspServer.completions.position': [(value) => handles.LspServer.completions('a', value), position],
  'PtyHandle.sendInput.options': [(value) => handles.PtyHandle.sendInput('a', value), signalOptions],
  'PtyHandle.resize.options': [(value) => handles.PtyHandle.resize(1, 1, value), signalOptions],
  'PtyHandle.kill.options': [(value) => handles.PtyHandle.kill(value), signalOptions],
  'ExecStream.wait.options': [(value) => handles.ExecStream.wait(value), signalOptions],
  'ExecStream.writeStdin.options': [(value) => handles.ExecStream.writeStdin('a', value), signalOptions],
  'ExecStream.closeStdin.options': [(value) => handles.ExecStream.closeStdin(value), signalOptions],
  'ExecStream.signal.options': [(value) => handles.ExecStream.signal('INT', value), signalOptions],
  'ExecStream.kill.options': [(value) => handles.ExecStream.kill(value), signalOptions],
  'Image.fromDockerfile.options': [(value) => Image.fromDockerfile('/nonexistent', value), { strictContext: true }],
  'Image.pipInstall.options': [(value) => Image.base('a').pipInstall('b', value), { findLinks: ['a'], pre: true, indexUrl: 'i', extraIndexUrls: ['e'], extraOptions: 'o' }],
  'Image.pipInstallFromRequirements.options': [(value) => Image.base('a').pipInstallFromRequirements('/nonexistent', value), { pre: true }],
  'Image.pipInstallFromPyproject.options': [(value) => Image.base('a').pipInstallFromPyproject('/nonexistent', value), { optionalDependencies: ['a'] }],
  'Image.dockerfileCommands.options': [(value) => Image.base('a').dockerfileCommands(['RUN a'], undefined, value), { strictContext: false }],
  'TerminalBackend.constructor.options': [(value) => new TerminalBackend({}, { daytona: fake.daytona, ...Object(value) }), { taskId: 't' }, 'options', { spread: true }],
  'TerminalBackend.exec.options': [(value) => handles.TerminalBackend.exec(' ', value), { cwd: '/', env: { A: 'b' }, timeout: 1, signal }],
  'TerminalBackend.run.options': [(value) => handles.TerminalBackend.run(' ', value), { cwd: '/', env: { A: 'b' }, timeout: 1, stdin: 'x' }],
  'SandboxProvider.constructor.options': [(value) => new SandboxProvider({}, value), { apiKey: 'k' }],
  'SandboxProvider.terminate.options': [(value) => handles.SandboxProvider.terminate(handle, value), { signal, force: true }],
  'SandboxProvider.streamLogs.options': [(value) => handles.SandboxProvider.streamLogs(handle, value), signalOptions],
}

/** Names with texts: any name is fine, other values are not. */
const RECORDS = {
  'Sandbox.setLabels.labels': (value) => fake.sandbox.setLabels(value),
  'Sandbox.updateEnv.env': (value) => fake.sandbox.updateEnv(value),
  'Sandbox.updateSecrets.secrets': (value) => fake.sandbox.updateSecrets(value),
  'Process.executeCommand.env': (value) => fake.sandbox.process.executeCommand('a', undefined, value),
  'Process.executeCommandStream.env': (value) => fake.sandbox.process.executeCommandStream('a', undefined, value),
  'Image.env.envVars': (value) => Image.base('a').env(value),
}

/** What a call gives back, or a configuration that is checked by the core, which knows its keys in two spellings. */
const ELSEWHERE = [
  'Api.request.query',
  'CodeInterpreter.deleteContext.context',
  'Daytona.delete.sandbox',
  'Daytona.fork.sandbox',
  'Daytona._experimental_fork.sandbox',
  'Daytona.start.sandbox',
  'Daytona.stop.sandbox',
  'SandboxProvider.constructor.pool',
  'SandboxProvider.provision.spec',
  ...['status', 'terminate', 'pause', 'resume', 'streamLogs'].map((name) => `SandboxProvider.${name}.handle`),
  ...['activate', 'buildLogs', 'deactivate', 'delete'].map((name) => `SnapshotService.${name}.snapshot`),
  'TerminalBackend.constructor.config',
  'VolumeService.delete.volume',
]

/** Flags by position: what is taken for true must be true. */
const FLAGS = {
  'FileSystem.deleteFile.recursive': (value) => fake.sandbox.fs.deleteFile('a', value),
  'Git.commit.allowEmpty': (value) => fake.sandbox.git.commit('a', 'm', 'n', 'e', value),
  'Git.clone.insecureSkipTls': (value) => fake.sandbox.git.clone('u', 'p', undefined, undefined, undefined, undefined, value),
  'Git.push.setUpstream': (value) => fake.sandbox.git.push('a', undefined, undefined, undefined, undefined, value),
  'Git.init.bare': (value) => fake.sandbox.git.init('a', value),
  'Git.restore.staged': (value) => fake.sandbox.git.restore('a', ['b'], value),
  'Git.restore.worktree': (value) => fake.sandbox.git.restore('a', ['b'], true, value),
  'Git.remoteAdd.fetch': (value) => fake.sandbox.git.remoteAdd('a', 'n', 'u', value),
  'Git.remoteAdd.overwrite': (value) => fake.sandbox.git.remoteAdd('a', 'n', 'u', false, value),
  'Sandbox.stop.force': (value) => fake.sandbox.stop(1, value),
  'Sandbox.delete.wait': (value) => fake.sandbox.delete(1, value),
  'Sandbox.setPublic.isPublic': (value) => fake.sandbox.setPublic(value),
  'VolumeService.get.create': (value) => fake.daytona.volume.get('a', value),
}

/** The error of a call, thrown or rejected, if there is one. */
async function errorOf(call) {
  try {
    await call()
    return undefined
  } catch (error) {
    return error
  }
}

/** What a call is refused with. Nothing is sent. */
async function refused(call) {
  const before = fake.requests.length
  const error = await errorOf(call)
  assert.ok(error instanceof DaytonaInvalidArgumentError, String(error))
  assert.equal(fake.requests.length, before)
  return error.message
}

const WRONG = [new Date(), 'text', 5, true, ['a'], new Map(), signal, () => {}]

for (const [where, [call, good, name = where.split('.').at(-1), { spread } = {}]] of Object.entries(OBJECTS)) {
  test(`${where} takes what it knows, and nothing else`, async () => {
    const error = await errorOf(() => call(good))
    const unfit = error instanceof DaytonaInvalidArgumentError && !/blank/.test(error.message)
    assert.ok(!unfit, String(error))
    for (const key of ['zzzzzzzzzzzz', 'constructor', 'network_block_all']) {
      const message = await refused(() => call({ ...good, [key]: 1 }))
      assert.match(message, new RegExp(`^${name.replace(/[[\]]/g, '\\$&')} has no field "${key}"\\. (Did you mean|It has: )`))
    }
    for (const wrong of WRONG) {
      if (spread) break
      if (/create.options$/.test(where) && wrong === 5) continue
      if (/downloadFileStream|SnapshotService.list.query/.test(where) && wrong === 5) continue
      if (/Logs.options$/.test(where) && typeof wrong === 'function') continue
      const message = await refused(() => call(wrong))
      assert.match(message, /must be an? .*, not|has no field/, `${where} ${String(wrong)}`)
    }
    for (const key of Object.keys(good)) {
      // Any value at all.
      if (['image', 'daytona', '_experimental'].includes(key) || good[key] == null) continue
      const wrong = typeof good[key] === 'symbol' ? 5 : Symbol.iterator
      const message = await refused(() => call({ ...good, [key]: wrong }))
      assert.ok(message.startsWith(`${name}.${key} must be `), message)
    }
    // As if it were not there.
    const same = await errorOf(() => call({ ...good, zzzzzzzzzzzz: undefined }))
    assert.equal(same?.message, error?.message)
  })
}

for (const [where, call] of Object.entries(RECORDS)) {
  test(`${where} takes texts by any name`, async () => {
    const name = where.split('.').at(-1)
    assert.ok(!((await errorOf(() => call({ ANY: 'b' }))) instanceof DaytonaInvalidArgumentError))
    assert.equal(await refused(() => call({ ANY: 5 })), `${name}.ANY must be a string, not number`)
    for (const wrong of ['text', 5, ['a'], new Map()]) assert.match(await refused(() => call(wrong)), /must be an object, not/)
  })
}

for (const [where, call] of Object.entries(FLAGS)) {
  test(`${where} is true or false`, async () => {
    const name = where.split('.').at(-1)
    for (const wrong of [{ [name]: false }, 'false', 1, []]) {
      assert.match(await refused(() => call(wrong)), new RegExp(`^${name} must be a boolean, not `))
    }
    assert.ok(!((await errorOf(() => call(true))) instanceof DaytonaInvalidArgumentError))
  })
}

test('the nearest name is told', async () => {
  const told = async (call) => (await refused(call)).split('. ').at(-1)
  const { daytona } = fake
  assert.equal(await told(() => daytona.create({ network_block_all: true })), 'Did you mean networkBlockAll?')
  assert.equal(await told(() => daytona.create({ autoStop: 5 })), 'Did you mean autoStopInterval?')
  assert.equal(await told(() => daytona.list({ label: { a: 'b' } }).next()), 'Did you mean labels?')
  assert.equal(await told(() => new Daytona({ apikey: 'k' })), 'Did you mean apiKey?')
  assert.equal(await refused(() => daytona.create({ resources: { ram: 1 } })), 'params.resources has no field "ram". It has: cpu, gpu, gpuType, memory, disk')
  assert.match(await refused(() => daytona.create({ volumes: [{ volumeId: 'v', path: '/' }] })), /^params\.volumes\[0\] has no field "path"\. Did you mean mountPath\?/)
  assert.match(await refused(() => daytona.delete({ id: 'a' })), /^sandbox must be a Sandbox/)
})

test('the plugins take what they know', async () => {
  const { DaytonaPlugin } = await import('daytona-native/opencode')
  const { daytona } = await import('daytona-native/flue')
  const host = { directory: '/', worktree: '/', client: {} }
  assert.match(await refused(() => DaytonaPlugin(host, { create: { network_block_all: true } })), /^options\.create has no field "network_block_all"/)
  assert.match(await refused(() => DaytonaPlugin(host, { daytona: { apikey: 'a' } })), /^options\.daytona .*Did you mean apiKey/)
  assert.match(await refused(() => DaytonaPlugin(host, { sandbox: false })), /Did you mean sandboxed\?$/)
  assert.match(await refused(() => DaytonaPlugin(host, 'text')), /^options must be an object/)
  assert.match(await refused(() => daytona(fake.sandbox, { runtim: {} })), /Did you mean runtime\?$/)
  assert.ok(await DaytonaPlugin(host, { sandboxed: true, create: { snapshot: 'a' }, daytona: config() }))
})

// The declarations, read as far as is needed to see that nothing is forgotten here.

const declarations = ['lib', 'integrations/flue', 'integrations/opencode']
  .flatMap((folder) => readdirSync(join(packageDir, folder)).filter((one) => one.endsWith('.d.ts')).map((one) => join(packageDir, folder, one)))
  .map((one) => readFileSync(one, 'utf8').replace(/\/\*[^]*?\*\//g, ''))
  .join('\n')

/** Members of an interface, with those it extends. */
function declared(name) {
  const found = new RegExp(`export (?:interface|type|declare class) ${name}\\b([^{]*)\\{\\n([^]*?)\\n\\}`).exec(declarations)
  assert.ok(found, `${name} is not declared`)
  const own = [...found[2].matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member)
  const picked = /Pick<\w+, ([^>]*)>/.exec(found[1])
  const more = picked ? [...picked[1].matchAll(/'(\w+)'/g)].map(([, member]) => member) : []
  const base = /extends (\w+) $/.exec(found[1]) ?? /= (\w+) & $/.exec(found[1])
  return [...(base ? declared(base[1]) : []), ...more, ...own]
}

test('members are those of the declarations', () => {
  const made = {
    CreateSandboxParams: [...new Set([...declared('CreateSandboxFromImageParams'), ...declared('CreateSandboxFromSnapshotParams')])],
    ListFilesOptions: ['signal', 'timeout', 'depth'],
    SandboxProviderOptions: ['apiKey'],
    SignalOptions: ['signal'],
    TerminalBackendOptions: ['daytona', 'taskId'],
    TerminalStdinOptions: [...declared('TerminalRunOptions'), 'stdin'],
    TerminateOptions: ['signal', 'force'],
    RecoverOptions: ['signal', 'timeout', 'acceptLoss'],
    UpdateEnvOptions: ['signal', 'timeout', 'unset'],
  }
  for (const [name, shape] of Object.entries(shapes)) {
    assert.deepEqual(Object.keys(shape).sort(), [...new Set(made[name] ?? declared(name))].sort(), name)
  }
})

/** Types of which there is nothing to misspell. */
const PLAIN = /^(string|number|boolean|Date|Buffer|Uint8Array|ArrayBuffer|unknown|any|null|undefined|'[^']*'|`[^`]*`|LspLanguageId|UploadSource|readonly|\(.*\)|\W)*$/

test('every method that takes an object is in a table', () => {
  const known = new Set([...Object.keys(OBJECTS), ...Object.keys(RECORDS), ...ELSEWHERE])
  const classes = [...declarations.matchAll(/^export declare class (\w+)[^{]*\{\n([^]*?)\n\}/gm)]
  assert.ok(classes.length > 20)
  let methods = 0
  for (const [, type, body] of classes) {
    const flat = body.replace(/\s+/g, ' ')
    for (const [, method, parameters] of flat.matchAll(/(?:^|[ ;}])(?:static )?(\w+)(?:<[^(]*>)?\(((?:[^()]|\([^()]*\))*)\)(?:: |$| )/g)) {
      methods += 1
      for (const parameter of split(parameters)) {
        const [, name, wanted] = /^(?:\.\.\.)?(\w+)\??: (.*)$/.exec(parameter.trim()) ?? []
        if (!name || PLAIN.test(wanted) || /^CallOptions$/.test(wanted)) continue
        const where = `${type}.${method}.${name}`
        if (type.endsWith('Error')) continue
        assert.ok(known.has(where), `${where}: ${wanted}`)
      }
    }
  }
  assert.ok(methods > 120, String(methods))
})

test('options that every call has are checked everywhere', async () => {
  const { api, secret, snapshot, volume, warmPool } = fake.daytona
  const { sandbox } = fake
  const parts = { Api: api, SecretService: secret, SnapshotService: snapshot, VolumeService: volume, WarmPoolService: warmPool }
  Object.assign(parts, { Sandbox: sandbox, FileSystem: sandbox.fs, Git: sandbox.git, Process: sandbox.process, CodeInterpreter: sandbox.codeInterpreter })
  Object.assign(parts, { Daytona: fake.daytona, ...handles })
  const classes = [...declarations.matchAll(/^export declare class (\w+)[^{]*\{\n([^]*?)\n\}/gm)]
  const samples = { string: 'text', number: 1, boolean: true, Date: new Date(), 'string[]': ['text'] }
  let tried = 0
  for (const [, type, body] of classes) {
    const flat = body.replace(/\s+/g, ' ')
    for (const [, method, parameters] of flat.matchAll(/(?:^|[ ;}])(\w+)(?:<[^(]*>)?\(((?:[^()]|\([^()]*\))*)\): /g)) {
      const all = split(parameters).map((one) => /^(\w+)\??: (.*)$/.exec(one.trim()))
      if (all.at(-1)?.[2] !== 'CallOptions' || !parts[type]) continue
      const given = all.slice(0, -1).map(([, name, wanted]) => {
        const sample = OBJECTS[`${type}.${method}.${name}`]
        if (sample) return /files/.test(name) ? [sample[1]] : sample[1]
        if (/^Record/.test(wanted)) return { A: 'b' }
        if (wanted === 'Sandbox') return sandbox
        if (/^Buffer/.test(wanted)) return Buffer.from('a')
        return samples[wanted] ?? (/LspLanguageId|string/.test(wanted) ? 'text' : { id: 'a', ...handle })
      })
      const message = await refused(() => {
        const started = parts[type][method](...given, { timeOut: 1 })
        return started?.next ? started.next() : started
      })
      assert.match(message, /^options has no field "timeOut"\. Did you mean timeout\?$/, `${type}.${method}`)
      tried += 1
    }
  }
  assert.ok(tried > 90, String(tried))
})

/** Parameters, at commas that are not within brackets. */
function split(text) {
  const parts = []
  let depth = 0
  let last = ''
  for (const letter of text) {
    if ('<({['.includes(letter)) depth += 1
    if ('>)}]'.includes(letter) && !last.endsWith('=')) depth -= 1
    if (letter === ',' && depth === 0) {
      parts.push(last)
      last = ''
    } else last += letter
  }
  return [...parts, last].filter((part) => part.trim())
}
