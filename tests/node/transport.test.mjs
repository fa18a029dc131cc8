// Proxies, answers that do not fit into memory, and answers that are lost.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  Daytona,
  DaytonaInvalidArgumentError,
  DaytonaNotFoundError,
  DaytonaResponseTooLargeError,
} from 'daytona-native'
import { json, run, serverBinary, startFake } from './support.mjs'

const PROXIES = ['HTTP', 'HTTPS', 'ALL'].flatMap((scheme) => [`${scheme}_PROXY`, `${scheme.toLowerCase()}_proxy`])

const deleted = new Set()
let fake
before(async () => {
  fake = await startFake(async (request, response, path) => {
    let body = ''
    for await (const piece of request) body += piece
    if (request.method === 'DELETE') {
      if (deleted.has(request.url) || request.url.includes('missing')) {
        return json(response, 404, { statusCode: 404, message: 'no such thing' })
      }
      deleted.add(request.url)
      return request.url.includes('lost') ? request.socket.destroy() : json(response, 200, {})
    }
    if (path.startsWith('/v1/')) return response.end()
    json(response, 200, { exitCode: 0, result: JSON.parse(body).command })
  })
})
after(() => fake.stop())

/** Listens, and tells who has connected. */
async function listen() {
  const connections = []
  const server = net.createServer((socket) => connections.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    connections,
    async stop() {
      for (const socket of connections) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

test('nothing of a local server goes through a proxy', async () => {
  const proxy = await listen()
  const directory = await mkdtemp(join(tmpdir(), 'daytona-node-proxy-'))
  const program = `
    import assert from 'node:assert/strict'
    import { Daytona } from 'daytona-native'
    const daytona = Daytona.local({ dataDir: process.argv[1] })
    const sandbox = await daytona.create()
    await sandbox.fs.uploadFile(Buffer.from('data'), 'file')
    assert.equal((await sandbox.fs.downloadFile('file')).toString(), 'data')
    assert.equal((await sandbox.process.executeCommand('cat file')).result, 'data')
    let output = ''
    for await (const chunk of await sandbox.process.executeCommandStream('cat file')) output += chunk.text
    assert.equal(output, 'data')
    await sandbox.delete()
  `
  const url = `http://me:secret@127.0.0.1:${proxy.port}`
  const env = {
    ...Object.fromEntries(PROXIES.map((name) => [name, url])),
    NO_PROXY: '',
    no_proxy: '',
    DAYTONA_NATIVE_BINARY: serverBinary(),
    DAYTONA_OTEL_ENABLED: 'true',
    OTEL_EXPORTER_OTLP_ENDPOINT: fake.base,
  }
  try {
    const done = await run(program, { args: [join(directory, 'data')], env })
    assert.equal(done.code, 0, done.stderr)
    assert.ok(fake.requests.includes('POST /v1/traces'))
    assert.equal(proxy.connections.length, 0)
  } finally {
    await proxy.stop()
    await rm(directory, { recursive: true, force: true })
  }
})

test('a proxy that fails is named', async () => {
  const { port, stop } = await listen()
  await stop()
  const program = `
    import { Daytona } from 'daytona-native'
    const daytona = new Daytona({ apiUrl: 'https://api.invalid/api', apiKey: 'hidden' })
    await daytona.get('box').catch((error) => console.log(error.name, error.message))
  `
  const env = { HTTPS_PROXY: `http://me:hidden@127.0.0.1:${port}`, NO_PROXY: 'api.invalid:80' }
  const { stdout, stderr } = await run(program, { env })
  assert.match(stdout, /^DaytonaConnectionError /, stderr)
  assert.ok(stdout.includes(`cannot connect to api.invalid:443 through the proxy http://127.0.0.1:${port}: `), stdout)
  assert.ok(stdout.includes('add api.invalid:443 to NO_PROXY') && !stdout.includes('hidden'), stdout)
})

test('an answer that is too long is refused', async () => {
  const box = (maxResponseBytes) => new Daytona({ apiUrl: `${fake.base}/api`, apiKey: 'k', maxResponseBytes }).get('fake')
  const sandbox = await box(1000)
  assert.equal((await sandbox.process.executeCommand('x'.repeat(900))).result.length, 900)
  await assert.rejects(sandbox.process.executeCommand('x'.repeat(1001)), (error) => {
    assert.ok(error instanceof DaytonaResponseTooLargeError, error)
    assert.equal(error.operation, 'process.exec')
    assert.match(error.message, /longer than 1000 bytes.*maxResponseBytes/)
    return true
  })
  const unlimited = await box(0)
  assert.equal((await unlimited.process.executeCommand('x'.repeat(1001))).result.length, 1001)
  for (const bad of [-1, 1.5]) {
    await assert.rejects(async () => box(bad), (error) => {
      assert.ok(error instanceof DaytonaInvalidArgumentError && error.message.includes('maxResponseBytes'), error)
      return true
    })
  }
})

test('what was deleted before its answer was lost is deleted', async () => {
  await fake.sandbox.fs.deleteFile('lost file')
  await fake.sandbox.process.deleteSession('lost')
  await fake.daytona.secret.delete('lost')
  assert.equal(fake.requests.filter((request) => request.startsWith('DELETE')).length, 6)
  await assert.rejects(fake.sandbox.fs.deleteFile('missing'), (error) => {
    assert.ok(error instanceof DaytonaNotFoundError, error)
    assert.equal(error.attempts, 1)
    return true
  })
})
