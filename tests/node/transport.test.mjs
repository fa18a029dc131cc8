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
