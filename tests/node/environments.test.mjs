// Process exit, worker threads and child processes, with calls in flight and without.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { cleanEnvironment, deferred, json, run, startFake } from './support.mjs'

let answer
let fake
let arrived = 0
before(async () => {
  fake = await startFake((request, response) => {
    request.resume()
    arrived++
    answer(request, response)
  })
})
after(() => fake.stop())

const ok = (_, response) => json(response, 200, { exitCode: 0, result: 'done' })
const connect = (url) => `
  import { Daytona } from 'daytona-native'
  const daytona = new Daytona({ apiUrl: ${JSON.stringify(url)}, apiKey: 'k' })
  const sandbox = await daytona.get('fake')
`
const program = (rest) => connect(`${fake.base}/api`) + rest

test('a call in flight keeps the process alive; after it the process ends', async () => {
  answer = (request, response) => setTimeout(() => ok(request, response), 200)
  const { code, stdout, stderr } = await run(
    program("sandbox.process.executeCommand('true').then(({ result }) => console.log(result))"),
  )
  assert.deepEqual([code, stdout], [0, 'done\n'], stderr)
})

test('an upload from a stream keeps the process alive', async () => {
  answer = (request, response) => request.on('end', () => json(response, 200, { files: [] }))
  const { code, stdout, stderr } = await run(
    program(`
      import { Readable } from 'node:stream'
      sandbox.fs.uploadFileStream(Readable.from(['a', 'b']), 'a').then(() => console.log('sent'))`),
  )
  assert.deepEqual([code, stdout], [0, 'sent\n'], stderr)
})

test('process.exit with calls in flight is clean', async () => {
  answer = () => {}
  for (let round = 0; round < 5; round++) {
    const { code, signal, stderr } = await run(
      program(`
        for (let i = 0; i < 50; i++) sandbox.process.executeCommand('sleep')
        sandbox.fs.uploadFileStream(new ReadableStream(), 'a')
        setTimeout(() => process.exit(7), ${round * 10})`),
    )
    assert.deepEqual([code, signal, stderr], [7, null, ''])
  }
})

test('process.exit while answers arrive is clean', async () => {
  answer = ok
  const { code, signal, stderr } = await run(
    program(`
      let done = 0
      const loop = async () => { for (;;) { await sandbox.process.executeCommand('true'); if (++done === 200) process.exit(3) } }
      for (let i = 0; i < 20; i++) loop()`),
  )
  assert.deepEqual([code, signal, stderr], [3, null, ''])
})

test('an error that nobody handles ends the process with its own name', async () => {
  answer = (_, response) => json(response, 404, { message: 'no such thing' })
  const { code, stderr } = await run(program("await sandbox.process.executeCommand('true')"))
  assert.equal(code, 1)
  assert.match(stderr, /DaytonaNotFoundError: no such thing/)
})

test('a worker that is terminated takes its calls along', async () => {
  for (let round = 0; round < 5; round++) {
    const sockets = new Set()
    const all = deferred()
    answer = (request) => {
      sockets.add(request.socket)
      if (sockets.size === 20) all.resolve()
    }
    const worker = new Worker(
      new URL(
        `data:text/javascript,${encodeURIComponent(`
          import { workerData } from 'node:worker_threads'
          import { createRequire } from 'node:module'
          const { Daytona } = createRequire(workerData.file)('daytona-native')
          const daytona = new Daytona({ apiUrl: workerData.url, apiKey: 'k' })
          const sandbox = await daytona.get('fake')
          for (let i = 0; i < 20; i++) sandbox.process.executeCommand('sleep').catch(() => {})`)}`,
      ),
      { workerData: { url: `${fake.base}/api`, file: fileURLToPath(import.meta.url) } },
    )
    await all.promise
    const closed = Promise.all([...sockets].map((socket) => once(socket, 'close')))
    await worker.terminate()
    await closed
  }
  answer = ok
  assert.equal((await fake.sandbox.process.executeCommand('true')).result, 'done')
})

test('workers are terminated while answers arrive', async () => {
  answer = ok
  for (let round = 0; round < 8; round++) {
    const before = arrived
    const workers = [1, 2].map(
      () =>
        new Worker(
          `const { workerData } = require('node:worker_threads')
           const { Daytona } = require('node:module').createRequire(workerData.file)('daytona-native')
           const loop = async (sandbox) => { for (;;) await sandbox.process.executeCommand('true') }
           new Daytona({ apiUrl: workerData.url, apiKey: 'k' }).get('fake').then((sandbox) => {
             for (let i = 0; i < 10; i++) loop(sandbox)
           })`,
          { eval: true, workerData: { url: `${fake.base}/api`, file: fileURLToPath(import.meta.url) } },
        ),
    )
    while (arrived - before < 100) await new Promise((resolve) => setImmediate(resolve))
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
  assert.equal((await fake.sandbox.process.executeCommand('true')).result, 'done')
})

test("a worker's own environment is the one that counts", async () => {
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     const { Daytona } = require('node:module').createRequire(workerData)('daytona-native')
     new Daytona().get('fake').then(({ id }) => parentPort.postMessage(id))`,
    {
      eval: true,
      workerData: fileURLToPath(import.meta.url),
      env: { DAYTONA_API_KEY: 'k', DAYTONA_API_URL: `${fake.base}/api` },
    },
  )
  // Both may come in one turn of the event loop.
  const exited = once(worker, 'exit')
  const [id] = await once(worker, 'message')
  assert.equal(id, 'fake')
  await exited
})

test('a forked process has a client of its own', async () => {
  answer = ok
  const child = fork(new URL('./child.mjs', import.meta.url), {
    env: { ...process.env, ...cleanEnvironment(), DAYTONA_API_KEY: 'k', DAYTONA_API_URL: `${fake.base}/api` },
  })
  const exited = once(child, 'exit')
  const [result] = await once(child, 'message')
  assert.equal(result, 'done')
  const [code] = await exited
  assert.equal(code, 0)
})
