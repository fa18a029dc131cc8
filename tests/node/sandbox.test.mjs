import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  CodeRunParams,
  Daytona,
  DaytonaError,
  DaytonaNotFoundError,
  FileSystem,
  Process,
  Sandbox,
  SandboxState,
} from 'daytona-native'
import { cleanEnvironment, ended, json, run, startFake, startServer } from './support.mjs'

let server
let daytona
before(async () => {
  server = await startServer()
  daytona = server.connect()
})
after(() => server?.stop())

test('a sandbox is a plain object with what the server says', async () => {
  const params = Object.freeze({ name: 'plain', labels: Object.freeze({ a: 'b' }), envVars: { GREETING: 'hi' } })
  const sandbox = await daytona.create(params)
  assert.ok(sandbox instanceof Sandbox)
  assert.ok(sandbox.fs instanceof FileSystem && sandbox.fs === sandbox.fs)
  assert.ok(sandbox.process instanceof Process && sandbox.process === sandbox.process)
  assert.equal(sandbox.name, 'plain')
  assert.equal(sandbox.state, SandboxState.STARTED)
  assert.equal(sandbox.labels.a, 'b')
  assert.equal(sandbox.labels['code-toolbox-language'], 'python')
  assert.equal(JSON.parse(JSON.stringify(sandbox)).id, sandbox.id)
  const { process, fs } = sandbox
  assert.equal((await process.executeCommand('echo $GREETING')).result, 'hi\n')
  assert.deepEqual(
    (await fs.listFiles('.')).map((file) => file.name).filter((name) => !name.startsWith('.')),
    [],
  )
  await sandbox.delete(60, true)
  assert.equal(sandbox.state, SandboxState.DESTROYED)
  await assert.rejects(daytona.get(sandbox.id), DaytonaNotFoundError)
})

test('calls that change a sandbox refresh it', async () => {
  const sandbox = await daytona.create()
  assert.equal((await sandbox.setLabels({ x: 'y' })).x, 'y')
  assert.equal(sandbox.labels.x, 'y')
  await sandbox.setAutostopInterval(30)
  assert.equal(sandbox.autoStopInterval, 30)
  await sandbox.setAutoDeleteInterval(-1)
  assert.equal(sandbox.autoDeleteInterval, -1)
  await sandbox.setPublic(true)
  assert.equal(sandbox.public, true)
  const other = await daytona.get(sandbox.id)
  await daytona.stop(other)
  assert.equal(other.state, SandboxState.STOPPED)
  assert.equal(sandbox.state, SandboxState.STARTED)
  await sandbox.refreshData()
  assert.equal(sandbox.state, SandboxState.STOPPED)
  await daytona.start(sandbox, 30)
  assert.equal(sandbox.state, SandboxState.STARTED)
  await daytona.delete(sandbox)
})

test('what fails leaves the sandbox as the server sees it', async () => {
  const fake = await startFake((request, response) => {
    request.resume()
    Object.assign(fake.data, { state: 'error', errorReason: 'no disk' })
    json(response, 200, { id: 'fake', ...fake.data, toolboxProxyUrl: fake.base })
  })
  try {
    await assert.rejects(fake.sandbox.start(5), (error) => {
      assert.ok(error instanceof DaytonaError)
      assert.match(error.message, /no disk/)
      assert.equal(error.sandboxId, 'fake')
      return true
    })
    assert.equal(fake.sandbox.state, SandboxState.ERROR)
    assert.equal(fake.sandbox.errorReason, 'no disk')
  } finally {
    await fake.stop()
  }
})

test('undefined is as good as absent', async () => {
  const sandbox = await daytona.create(undefined, undefined)
  const env = { A: 'a', MISSING: undefined }
  const answer = await sandbox.process.executeCommand('echo $A$MISSING', undefined, env, undefined, undefined)
  assert.deepEqual(answer, { exitCode: 0, result: 'a\n', artifacts: { stdout: 'a\n' } })
  const params = new CodeRunParams()
  params.argv = ['x y']
  assert.equal((await sandbox.process.codeRun('import sys; print(sys.argv[1])', params)).result, 'x y\n')
  assert.equal((await sandbox.process.codeRun('print(1)', null)).artifacts.stdout, '1\n')
  await sandbox.fs.uploadFile(Buffer.from('text'), 'a')
  assert.equal((await sandbox.fs.downloadFile('a', undefined, 30)).toString(), 'text')
  assert.equal((await sandbox.fs.downloadFile('a', 30)).toString(), 'text')
  const folder = await mkdtemp(join(tmpdir(), 'daytona-node-'))
  try {
    const target = join(folder, 'new/folder/a')
    assert.equal(await sandbox.fs.downloadFile('a', target, 30), undefined)
    const [memory, file, missing] = await sandbox.fs.downloadFiles([
      { source: 'a' },
      { source: 'a', destination: target },
      { source: 'nowhere' },
    ])
    assert.equal(memory.result.toString(), 'text')
    assert.deepEqual([file.source, file.result, file.error], ['a', target, undefined])
    assert.equal(missing.result, undefined)
    assert.match(missing.error, /nowhere/)
    assert.equal(missing.errorDetails.code, 'FILE_NOT_FOUND')
    assert.equal(missing.errorDetails.errorCode, 'FILE_NOT_FOUND')
    assert.equal(missing.errorDetails.statusCode, 404)
  } finally {
    await rm(folder, { recursive: true })
  }
  await sandbox.delete()
})

test('a list is fetched page by page', async () => {
  const made = await Promise.all([1, 2, 3].map((n) => daytona.create({ labels: { page: 'yes', n: String(n) } })))
  const seen = []
  for await (const sandbox of daytona.list({ labels: { page: 'yes' }, limit: 2 })) {
    assert.ok(sandbox instanceof Sandbox)
    seen.push(sandbox.id)
  }
  assert.deepEqual(seen.sort(), made.map((sandbox) => sandbox.id).sort())
  const none = daytona.list({ createdAtAfter: new Date(Date.now() + 3_600_000) })
  assert.equal((await none.next()).done, true)
  await Promise.all(made.map((sandbox) => sandbox.delete()))
})

test('many calls at once each get their own answer', async () => {
  const sandbox = await daytona.create()
  const calls = Array.from({ length: 300 }, (_, n) => sandbox.process.executeCommand(`echo ${n}`))
  const answers = await Promise.all(calls)
  answers.forEach((answer, n) => assert.equal(answer.result, `${n}\n`))
  await sandbox.delete()
})

test('signed URLs work without a key', async () => {
  const sandbox = await daytona.create()
  const form = new FormData()
  form.append('file', new Blob(['by form']), 'a')
  const upload = await fetch(await sandbox.uploadUrl('signed', 60), { method: 'POST', body: form })
  assert.equal(upload.ok, true)
  const url = await sandbox.downloadUrl('signed')
  assert.equal(await (await fetch(url)).text(), 'by form')
  await sandbox.rotateSigningKey()
  assert.equal((await fetch(url)).ok, false)
  assert.equal(await sandbox.getUserHomeDir(), await sandbox.getUserRootDir())
  assert.match(await sandbox.getWorkDir(), /^\//)
  await sandbox.delete()
})

test('a client is an async disposable', async () => {
  const other = server.connect()
  await other[Symbol.asyncDispose]()
})

test('Daytona.local starts a server that ends with the process', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'daytona-local-'))
  try {
    const program = `
      import { Daytona } from 'daytona-native'
      const daytona = Daytona.local({ dataDir: process.argv[1] })
      const sandbox = await daytona.create()
      console.log((await sandbox.process.executeCommand('echo local')).result.trim(), new URL(sandbox.toolboxProxyUrl).origin)`
    const { code, stdout, stderr } = await run(program, { env: cleanEnvironment(), args: [join(folder, 'data')] })
    assert.equal(code, 0, stderr)
    const [word, origin] = stdout.trim().split(' ')
    assert.equal(word, 'local')
    // It ends by itself, some time after its last client.
    await ended(folder)
    await assert.rejects(fetch(origin))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a data directory is text', () => {
  assert.throws(() => Daytona.local({ dataDir: 5 }), /dataDir must be a string/)
})
