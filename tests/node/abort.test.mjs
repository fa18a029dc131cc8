import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { after, before, test } from 'node:test'
import { DaytonaInvalidArgumentError } from 'daytona-native'
import { deferred, json, startFake } from './support.mjs'

let answer
let fake
before(async () => {
  fake = await startFake((request, response) => {
    request.resume()
    answer(request, response)
  })
})
after(() => fake.stop())

const ok = (_, response) => json(response, 200, { exitCode: 0, result: 'done' })
const exec = (signal) => fake.sandbox.process.executeCommand('true', undefined, undefined, undefined, { signal })

test('a signal that has aborted ends the call before it is sent', async () => {
  answer = ok
  const before = fake.requests.length
  const reason = new Error('never mind')
  const signal = AbortSignal.abort(reason)
  const calls = [
    exec(signal),
    fake.sandbox.fs.listFiles('.', { signal }),
    fake.sandbox.fs.uploadFile(Buffer.from('a'), 'a', undefined, { signal }),
    fake.sandbox.fs.downloadFile('a', undefined, { signal }),
    fake.sandbox.start(1, { signal }),
    fake.daytona.get('fake', { signal }),
    fake.daytona.create({}, { signal }),
    fake.daytona.list({}, { signal }).next(),
  ]
  for (const call of calls) await assert.rejects(call, (error) => error === reason)
  assert.equal(fake.requests.length, before)
})

test('aborting rejects at once and closes the connection', async () => {
  const arrived = deferred()
  answer = (request) => arrived.resolve(request.socket)
  const controller = new AbortController()
  const call = exec(controller.signal)
  const socket = await arrived.promise
  const closed = once(socket, 'close')
  controller.abort()
  await assert.rejects(call, { name: 'AbortError' })
  await closed
})

test('a time limit of a signal is its reason', async () => {
  answer = () => {}
  await assert.rejects(exec(AbortSignal.timeout(20)), { name: 'TimeoutError' })
})

test("the signal is left as it was, with the user's own handler", async () => {
  answer = ok
  const controller = new AbortController()
  let aborted = 0
  controller.signal.onabort = () => aborted++
  const listeners = () => getEventListeners(controller.signal, 'abort').length
  const own = listeners()
  await exec(controller.signal)
  assert.equal(listeners(), own)
  await assert.rejects(fake.sandbox.process.executeCommand('', undefined, undefined, undefined, controller))
  assert.equal(listeners(), own)
  controller.abort()
  assert.equal(aborted, 1)
})

test('aborting after the end changes nothing', async () => {
  answer = ok
  const controller = new AbortController()
  const { result } = await exec(controller.signal)
  controller.abort()
  assert.equal(result, 'done')
})

test('one signal can end very many calls, without a warning', async () => {
  answer = () => {}
  const warnings = []
  const note = (warning) => warnings.push(warning.message)
  process.on('warning', note)
  const controller = new AbortController()
  const calls = Array.from({ length: 200 }, () => exec(controller.signal))
  const outcomes = Promise.allSettled(calls)
  controller.abort('enough')
  for (const outcome of await outcomes) assert.equal(outcome.reason, 'enough')
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', note)
  assert.deepEqual(warnings, [])
})

test('a list can be ended between pages and within one', async () => {
  const data = (id) => ({ id, toolboxProxyUrl: `${fake.base}/toolbox` })
  const asked = []
  answer = (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://fake')
    if (pathname !== '/api/sandbox') return
    const cursor = searchParams.get('cursor')
    asked.push(cursor)
    if (cursor === null) json(response, 200, { items: [data('one'), data('two')], nextCursor: 'more' })
    // The second page never comes.
  }
  const seen = []
  for await (const sandbox of fake.daytona.list()) {
    seen.push(sandbox.id)
    if (seen.length === 2) break
  }
  assert.deepEqual([seen, asked], [['one', 'two'], [null]])
  const controller = new AbortController()
  const sandboxes = fake.daytona.list(undefined, controller)
  await sandboxes.next()
  await sandboxes.next()
  const third = sandboxes.next()
  controller.abort('enough')
  await assert.rejects(third, (reason) => reason === 'enough')
  assert.equal((await sandboxes.next()).done, true)
})

test('what is no signal is refused', async () => {
  await assert.rejects(exec({ aborted: false }), DaytonaInvalidArgumentError)
})
