// Calls that make something and are called off: nothing is left that nobody has a handle to.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { spawn } from 'node:child_process'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Daytona } from 'daytona-native'
import { deferred, json, startServer } from './support.mjs'

/** A server far away: it answers when the test says so, and goes on when its client has gone. */
async function startFar() {
  const things = new Map([['box', 'box']])
  const waiting = []
  const far = { things, asked: deferred(), state: 'started', isLate: true }
  let made = 0
  const server = http.createServer(async (request, response) => {
    const wanted = decodeURIComponent(new URL(request.url, 'http://far').pathname.split('/').at(-1))
    const id = [...things.keys()].find((one) => one === wanted || things.get(one) === wanted)
    const data = (one) => ({ id: one, name: things.get(one), state: far.state, toolboxProxyUrl: `${far.url}/toolbox` })
    if (request.method === 'POST') {
      let text = ''
      for await (const piece of request) text += piece
      const fresh = `made-${++made}`
      things.set(fresh, JSON.parse(text || '{}').name ?? fresh)
      const answer = { ...data(fresh), state: { snapshots: 'active', volumes: 'ready' }[wanted] ?? far.state }
      far.asked.resolve()
      if (far.isLate) await new Promise((resolve) => waiting.push(resolve))
      json(response, 200, answer)
    } else if (request.method === 'DELETE') {
      things.delete(id)
      json(response, id ? 200 : 404, {})
    } else {
      json(response, id ? 200 : 404, id ? data(id) : {})
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  far.url = `http://127.0.0.1:${server.address().port}/api`
  far.answer = () => {
    for (const resolve of waiting.splice(0)) resolve()
  }
  far.stop = async () => {
    far.answer()
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return far
}

async function eventually(condition) {
  const end = Date.now() + 20_000
  while (!(await condition())) {
    assert.ok(Date.now() < end, 'did not come about')
    await pause(10)
  }
}

let far
let server
before(async () => {
  server = await startServer()
})
after(() => server.stop())

async function withFar(work) {
  far = await startFar()
  try {
    await work(new Daytona({ apiUrl: far.url, apiKey: 'key' }))
  } finally {
    await far.stop()
  }
}

const onlyBox = () => far.things.size === 1

test('what is made after its signal has aborted is deleted', () =>
  withFar(async (daytona) => {
    const box = await daytona.get('box')
    const calls = [
      (options) => daytona.create({}, options),
      (options) => daytona.create({ name: 'mine' }, options),
      (options) => box.fork({}, undefined, options),
      (options) => daytona.snapshot.create({ name: 'mine', image: 'debian:12' }, options),
      (options) => daytona.volume.create('mine', options),
    ]
    for (const call of calls) {
      far.asked = deferred()
      const controller = new AbortController()
      const made = call({ signal: controller.signal })
      await far.asked.promise
      controller.abort()
      await assert.rejects(made, { name: 'AbortError' })
      far.answer()
      await eventually(onlyBox)
    }
  }))

test('a build whose log is not wanted any more is deleted', () =>
  withFar(async (daytona) => {
    far.isLate = false
    far.state = 'pending_build'
    const controller = new AbortController()
    const made = daytona.create({}, { signal: controller.signal, onSnapshotCreateLogs: () => {} })
    await far.asked.promise
    await pause(100)
    controller.abort()
    await assert.rejects(made, { name: 'AbortError' })
    await eventually(onlyBox)
  }))

test('a time limit says what becomes of it', () =>
  withFar(async (daytona) => {
    await assert.rejects(daytona.create({}, { timeout: 1 }), (error) => {
      assert.equal(error.name, 'DaytonaTimeoutError')
      assert.match(error.message, /is deleted/)
      return error.sandboxId === undefined
    })
    far.answer()
    await eventually(onlyBox)
    far.isLate = false
    far.state = 'creating'
    await assert.rejects(daytona.create({}, { timeout: 1 }), (error) => far.things.has(error.sandboxId))
  }))

test('a program that exits meanwhile leaves nothing', () =>
  withFar(async () => {
    const program = `
      import { Daytona } from 'daytona-native'
      const daytona = new Daytona({ apiUrl: process.argv[1], apiKey: 'key' })
      daytona.create().catch(() => {})
      process.stdin.once('data', () => process.exit(3))`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program, far.url], {
      stdio: ['pipe', 'inherit', 'inherit'],
    })
    await far.asked.promise
    assert.equal(far.things.size, 2)
    // It is never answered: it is deleted by the name that was chosen for it.
    child.stdin.write('end\n')
    const [code] = await once(child, 'exit')
    assert.equal(code, 3)
    assert.ok(onlyBox())
  }))

test('aborted at any point', async () => {
  const daytona = server.connect()
  const label = { test: `called-off-${process.pid}` }
  const left = async () => {
    const ids = []
    for await (const { id } of daytona.list({ labels: label })) ids.push(id)
    return ids
  }
  await (await daytona.create()).delete()
  const begin = Date.now()
  const parent = await daytona.create({ labels: label })
  const took = Date.now() - begin
  for (let number = 0; number < 20; number++) {
    const controller = new AbortController()
    const { signal } = controller
    const made = number % 5 === 4 ? parent.fork({}, undefined, { signal }) : daytona.create({ labels: label }, { signal })
    const aborted = pause((number / 18) * took).then(() => controller.abort())
    const sandbox = await made.catch((error) => {
      // Its parent may still be being forked by a call that was called off.
      assert.ok(error.name === 'AbortError' || /forking/.test(error.message), error)
    })
    await aborted
    // It was quicker than the signal, and there is a handle to it.
    await sandbox?.delete(60, true)
  }
  await eventually(async () => String(await left()) === parent.id)
  await parent.delete(60, true)
})
