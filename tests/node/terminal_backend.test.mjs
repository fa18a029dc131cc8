// Terminal backends and sandbox providers: what the shared cases cannot express.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DaytonaInvalidArgumentError, SandboxProvider, TerminalBackend } from 'daytona-native'
import { collect, run, startServer } from './support.mjs'

let server
let daytona
let count = 0
before(async () => {
  server = await startServer()
  daytona = server.connect()
})
after(() => server?.stop())

/** A backend whose sandboxes can be found. */
function desk(keys) {
  const label = `n${count++}`
  const config = { terminal: { daytona: { snapshot: 'host', labels: { test: label }, ...keys } } }
  const left = async () => {
    const found = []
    for await (const one of daytona.list({ labels: { test: label } })) found.push(one)
    return found
  }
  return { config, left, backend: new TerminalBackend(config, { daytona }) }
}

async function eventually(condition, limit = 10_000) {
  const end = Date.now() + limit
  while (!(await condition())) {
    assert.ok(Date.now() < end, 'did not come about')
    await sleep(20)
  }
}

const empty = (left) => async () => (await left()).length === 0

test('a signal ends the command, and its sandbox', async () => {
  const { backend, left } = desk()
  const abort = new AbortController()
  const running = backend.run('sleep 300', { signal: abort.signal })
  await eventually(async () => (await left())[0]?.state === 'started')
  abort.abort(new Error('enough'))
  await assert.rejects(running, /enough/)
  await eventually(empty(left))
  // While the sandbox is being made.
  for (const pause of [0, 5, 20]) {
    await assert.rejects(backend.run('sleep 300', { signal: AbortSignal.timeout(pause) }))
  }
  await backend.close()
  assert.deepEqual(await left(), [])
})

test('a stream that is closed, or forgotten, takes its sandbox along', async () => {
  const { backend, left } = desk()
  const closed = await backend.exec('echo ready; sleep 300')
  for await (const { text } of closed) if (text.includes('ready')) break
  closed.close()
  await eventually(empty(left))
  await (async () => {
    const forgotten = await backend.exec('echo ready; sleep 300')
    for await (const { text } of forgotten) if (text.includes('ready')) break
  })()
  await eventually(async () => {
    collect()
    return (await left()).length === 0
  })
})

test('an abort while output comes ends the loop', async () => {
  const { backend, left } = desk()
  const abort = new AbortController()
  const command = await backend.exec('echo ready; sleep 300', { signal: abort.signal })
  await assert.rejects(async () => {
    for await (const { text } of command) if (text.includes('ready')) abort.abort(new Error('enough'))
  }, /enough/)
  await backend.close()
  assert.deepEqual(await left(), [])
})

test('an abort of closing ends the waiting alone', async () => {
  const { backend, left } = desk({ keep_alive: true })
  const command = await backend.exec('echo ready; sleep 300')
  assert.equal((await left()).length, 1)
  const abort = new AbortController()
  const closing = backend.close({ signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(closing, /enough/)
  await eventually(empty(left), 30_000)
  await assert.rejects(command.wait())
})

test('a kept sandbox goes when it is idle, or with the program', async () => {
  const { backend, config, left } = desk({ keep_alive: true, max_idle: 1 })
  assert.deepEqual(await backend.run('cat', { stdin: 'text' }), { exitCode: 0, stdout: 'text', stderr: '' })
  assert.equal((await left()).length, 1)
  await eventually(empty(left))
  const program = `
    import { Daytona, TerminalBackend } from 'daytona-native'
    const daytona = new Daytona({ apiUrl: '${server.url}', apiKey: '${server.apiKey}' })
    const terminal = new TerminalBackend(${JSON.stringify({ ...config, other: 1 })}, { daytona })
    console.log((await terminal.run('echo ran')).stdout)`
  const { code, stdout } = await run(program)
  assert.deepEqual([code, stdout.trim()], [0, 'ran'])
  assert.deepEqual(await left(), [])
})

test('what is no client is refused', () => {
  assert.throws(() => new TerminalBackend({}, { daytona: {} }), DaytonaInvalidArgumentError)
  assert.throws(() => new TerminalBackend('terminal: {}', { daytona, taskId: 7 }), DaytonaInvalidArgumentError)
  assert.equal(new TerminalBackend({}, { daytona, taskId: 'x' }).config.taskId, 'x')
  assert.throws(() => new SandboxProvider({ imag: 'x' }, { apiKey: 'k' }), /Did you mean image/)
  assert.throws(() => new SandboxProvider({}, { apiKey: 7 }), DaytonaInvalidArgumentError)
})

test('the environment beats the pool', async () => {
  const former = process.env.DAYTONA_API_URL
  process.env.DAYTONA_API_URL = server.url
  try {
    const provider = new SandboxProvider({ daytonaApiUrl: 'http://127.0.0.1:9/api' }, { apiKey: server.apiKey })
    const handle = await provider.provision({ snapshot: 'host', command: ['sh', '-c', 'echo on'] })
    assert.equal(handle.provider, 'daytona')
    const seen = []
    for await (const { text } of await provider.streamLogs(handle)) seen.push(text)
    assert.equal(seen.join(''), 'on\n')
    await provider.terminate(handle, { force: true })
    assert.equal(await provider.status(handle), 'terminated')
  } finally {
    if (former === undefined) delete process.env.DAYTONA_API_URL
    else process.env.DAYTONA_API_URL = former
  }
})

test('what nobody waits for is terminated', async () => {
  const label = `n${count++}`
  const left = async () => {
    let found = 0
    for await (const _ of daytona.list({ labels: { test: label } })) found += 1
    return found
  }
  const provider = new SandboxProvider({ daytonaApiUrl: server.url, command: [] }, { apiKey: server.apiKey })
  const spec = { snapshot: 'host', labels: { test: label } }
  for (const pause of [0, 5, 20]) {
    // It may be as quick as that.
    const handle = await provider.provision(spec, { signal: AbortSignal.timeout(pause) }).catch(() => undefined)
    if (handle) await provider.terminate(handle, { force: true })
  }
  await eventually(async () => (await left()) === 0)
  // Nor when the program ends at once.
  const program = `
    import { SandboxProvider } from 'daytona-native'
    const provider = new SandboxProvider({ daytonaApiUrl: '${server.url}', command: [] }, { apiKey: '${server.apiKey}' })
    const abort = new AbortController()
    const made = provider.provision(${JSON.stringify(spec)}, { signal: abort.signal })
    setImmediate(() => abort.abort())
    await made.catch(({ name }) => console.log(name))`
  const { code, stdout } = await run(program)
  assert.deepEqual([code, stdout.trim()], [0, 'AbortError'])
  await eventually(async () => (await left()) === 0)
})
