// Logs that are followed: with functions, as iterables, and given up.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import {
  DaytonaConnectionError,
  DaytonaError,
  DaytonaInvalidArgumentError,
  DaytonaNotFoundError,
  LogStream,
} from 'daytona-native'
import { collect, deferred, json, run, startFake, startServer } from './support.mjs'

const OUT = [1, 1, 1]
const ERR = [2, 2, 2]
const frame = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)))

let connect
let fake
let server
let sandbox
before(async () => {
  fake = await startFake(
    (_, response) => json(response, 404, { message: 'no such thing' }),
    (websocket, path) => connect(websocket, path),
  )
  server = await startServer()
  sandbox = await server.connect().create()
})
after(async () => {
  await fake?.stop()
  await server?.stop()
})

/** The next log that the fake server is asked for. */
function nextLog() {
  const { promise, resolve } = deferred()
  connect = resolve
  return promise
}

/** Starts to follow a log of the fake server. */
async function followed(options) {
  const opened = nextLog()
  const log = await fake.sandbox.process.followSessionCommandLogs('s', 'c', options)
  return { log, websocket: await opened }
}

async function all(log) {
  const chunks = []
  for await (const chunk of log) chunks.push(chunk)
  return chunks
}

test('a command and its log', async () => {
  const { process } = sandbox
  await process.createSession('plain')
  const { cmdId, ...rest } = await process.executeSessionCommand('plain', {
    command: 'echo out; echo err >&2; (exit 3)',
  })
  assert.deepEqual(rest, { exitCode: 3, output: rest.output, stdout: 'out\n', stderr: 'err\n' })
  const logs = await process.getSessionCommandLogs('plain', cmdId)
  assert.deepEqual([Object.keys(logs), logs.stdout, logs.stderr], [['output', 'stdout', 'stderr'], 'out\n', 'err\n'])
  assert.deepEqual(await process.getSession('plain'), {
    sessionId: 'plain',
    commands: [{ id: cmdId, command: 'echo out; echo err >&2; (exit 3)', exitCode: 3 }],
  })
  assert.deepEqual(await process.getSessionCommandLogs('plain', cmdId, { timeout: 5 }), logs)
  const seen = []
  const nothing = await process.getSessionCommandLogs(
    'plain',
    cmdId,
    (text) => seen.push(['out', text]),
    (text) => seen.push(['err', text]),
  )
  assert.equal(nothing, undefined)
  assert.deepEqual(seen.sort(), [
    ['err', 'err\n'],
    ['out', 'out\n'],
  ])
  await process.deleteSession('plain')
  await assert.rejects(process.getSession('plain'), DaytonaNotFoundError)
})

test('a command that runs on is answered at once, and followed', async () => {
  const { process } = sandbox
  await process.createSession('async')
  const started = await process.executeSessionCommand('async', { command: 'read x; echo got $x', runAsync: true })
  assert.deepEqual(started, { cmdId: started.cmdId, stdout: '', stderr: '' })
  const log = await process.followSessionCommandLogs('async', started.cmdId)
  assert.ok(log instanceof LogStream)
  const chunks = all(log)
  await process.sendSessionCommandInput('async', started.cmdId, 'it')
  assert.match((await chunks).map(({ text }) => text).join(''), /got it\n$/)
  await process.deleteSession('async')
})

test('pieces say where they come from and hold text and bytes', async () => {
  const { log, websocket } = await followed()
  websocket.binary(frame(OUT, 'plain ', ERR, [0xff, 0xc3]))
  websocket.binary(frame([0xa9], OUT, 'end'))
  websocket.close()
  const chunks = await all(log)
  const of = (stream, what) => chunks.filter((chunk) => chunk.stream === stream).map(what)
  assert.equal(of('stdout', ({ text }) => text).join(''), 'plain end')
  assert.equal(of('stderr', ({ text }) => text).join(''), '\ufffdé')
  assert.deepEqual(Buffer.concat(of('stderr', ({ data }) => data)), Buffer.from([0xff, 0xc3, 0xa9]))
  assert.deepEqual(Buffer.concat(of('stdout', ({ data }) => data)), Buffer.from('plain end'))
  assert.ok(chunks.every(({ data }) => Buffer.isBuffer(data)))
})

test('one function is enough', async () => {
  const opened = nextLog()
  const seen = []
  const end = fake.sandbox.process.getSessionCommandLogs('s', 'c', undefined, (text) => seen.push(text))
  const websocket = await opened
  websocket.binary(frame(OUT, 'out', ERR, 'err'))
  websocket.close()
  await end
  assert.equal(seen.join(''), 'err')
})

test('an error of a function ends the call and closes the connection', async () => {
  const enough = new Error('enough')
  for (const fail of [
    () => Promise.reject(enough),
    () => {
      throw enough
    },
  ]) {
    const opened = nextLog()
    const end = fake.sandbox.process.getEntrypointLogs(fail, undefined)
    const failed = assert.rejects(end, (error) => error === enough)
    const websocket = await opened
    websocket.binary(frame(OUT, 'out'))
    await failed
    await websocket.closed
  }
})

test('a function that gives a promise is waited for', async () => {
  const opened = nextLog()
  const first = deferred()
  const seen = []
  const end = fake.sandbox.process.getSessionCommandLogs(
    's',
    'c',
    async (text) => {
      if (seen.length === 0) await first.promise
      seen.push(text)
    },
    (text) => seen.push(text),
  )
  const websocket = await opened
  websocket.binary(frame(OUT, 'one', ERR, 'two', OUT, 'three'))
  websocket.close()
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.deepEqual(seen, [])
  first.resolve()
  await end
  assert.deepEqual(seen, ['one', 'two', 'three'])
})

test('leaving the loop closes the connection', async () => {
  const { log, websocket } = await followed()
  websocket.binary(frame(OUT, 'out'))
  for await (const { text } of log) {
    assert.equal(text, 'out')
    break
  }
  await websocket.closed
  assert.deepEqual(await all(log), [])
})

test('closing ends a loop that waits', async () => {
  const { log, websocket } = await followed()
  const chunks = all(log)
  log.close()
  assert.deepEqual(await chunks, [])
  await websocket.closed
  log.close()
})

test('disposing closes', async () => {
  const { log, websocket } = await followed()
  await log[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()
  await websocket.closed
})

test('a signal ends the loop with its reason and closes the connection', async () => {
  const controller = new AbortController()
  const { log, websocket } = await followed(controller)
  const chunks = all(log)
  controller.abort('enough')
  await assert.rejects(chunks, (reason) => reason === 'enough')
  await websocket.closed
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
})

test('a signal ends a call with functions, and one that nobody waits for', async () => {
  const controller = new AbortController()
  const opened = nextLog()
  const end = fake.sandbox.process.getSessionCommandLogs(
    's',
    'c',
    () => {},
    () => {},
    controller,
  )
  const failed = assert.rejects(end, { name: 'AbortError' })
  const first = await opened
  const { websocket: second } = await followed(controller)
  controller.abort()
  await failed
  await Promise.all([first.closed, second.closed])
})

test('what comes before a signal is used is not lost to its listener', async () => {
  const { signal } = new AbortController()
  const { log, websocket } = await followed({ signal })
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  websocket.binary(frame(OUT, 'out'))
  websocket.close()
  assert.equal((await all(log)).length, 1)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('a log that nobody holds is closed', async () => {
  const websocket = await (async () => (await followed({ signal: new AbortController().signal })).websocket)()
  let closed = false
  websocket.closed.then(() => (closed = true))
  while (!closed) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
})

test('a broken connection is an error', async () => {
  const { log, websocket } = await followed()
  const failed = assert.rejects(all(log), DaytonaConnectionError)
  websocket.destroy()
  await failed
  const other = await followed()
  const closed = assert.rejects(all(other.log), (error) => error instanceof DaytonaError && /1011/.test(error.message))
  other.websocket.close(1011)
  await closed
})

test('what is not there is not found, before there is a log', async () => {
  const failing = await startFake((_, response) => json(response, 404, { message: 'no such thing' }))
  try {
    const { process } = failing.sandbox
    await assert.rejects(process.followSessionCommandLogs('s', 'c'), DaytonaNotFoundError)
    await assert.rejects(process.followEntrypointLogs(), DaytonaNotFoundError)
    await assert.rejects(
      process.getEntrypointLogs(() => {}, undefined),
      DaytonaNotFoundError,
    )
  } finally {
    await failing.stop()
  }
})

test('what is no function is refused', async () => {
  const before = fake.requests.length
  const { process } = fake.sandbox
  await assert.rejects(process.getSessionCommandLogs('s', 'c', 'print'), DaytonaInvalidArgumentError)
  await assert.rejects(process.getEntrypointLogs(undefined, 1), DaytonaInvalidArgumentError)
  await assert.rejects(process.executeSessionCommand('s', 'ls'), DaytonaInvalidArgumentError)
  await assert.rejects(process.createSession(1), DaytonaInvalidArgumentError)
  assert.equal(fake.requests.length, before)
})

const program = (rest) => `
  import { Daytona } from 'daytona-native'
  const daytona = new Daytona({ apiUrl: '${fake.base}/api', apiKey: 'k' })
  const { process: commands } = await daytona.get('fake')
  ${rest}`

test('a log keeps the process alive while somebody waits for it, and only then', async () => {
  connect = (websocket) => {
    setTimeout(() => {
      websocket.binary(frame(OUT, 'late'))
      websocket.close()
    }, 200)
  }
  const waiting = await run(program("commands.getSessionCommandLogs('s', 'c', (text) => console.log(text), undefined)"))
  assert.deepEqual([waiting.code, waiting.stdout], [0, 'late\n'], waiting.stderr)
  const sockets = []
  connect = (websocket) => sockets.push(websocket)
  const idle = await run(
    program("const log = await commands.followSessionCommandLogs('s', 'c'); console.log('followed')"),
  )
  assert.deepEqual([idle.code, idle.stdout, idle.stderr], [0, 'followed\n', ''])
  await sockets[0].closed
})

test('process.exit while a log arrives is clean', async () => {
  connect = (websocket) => {
    const more = setInterval(() => websocket.binary(frame(OUT, 'line\n', ERR, 'line\n')), 1)
    websocket.closed.then(() => clearInterval(more))
  }
  const { code, signal, stderr } = await run(
    program(`
      let lines = 0
      const count = () => { if (++lines === 100) process.exit(3) }
      for (let i = 0; i < 10; i++) commands.getSessionCommandLogs('s', 'c', count, count)`),
  )
  assert.deepEqual([code, signal, stderr], [3, null, ''])
})

test('a worker that is terminated takes its logs along', async () => {
  const sockets = []
  const both = deferred()
  connect = (websocket) => {
    if (sockets.push(websocket) === 2) both.resolve()
  }
  const worker = new Worker(
    `const { workerData } = require('node:worker_threads')
     const { Daytona } = require('node:module').createRequire(workerData.file)('daytona-native')
     new Daytona({ apiUrl: workerData.url, apiKey: 'k' }).get('fake').then(async (sandbox) => {
       globalThis.held = await sandbox.process.followSessionCommandLogs('s', 'c')
       await sandbox.process.getSessionCommandLogs('s', 'c', () => {}, () => {})
     })`,
    { eval: true, workerData: { url: `${fake.base}/api`, file: fileURLToPath(import.meta.url) } },
  )
  await both.promise
  await worker.terminate()
  await Promise.all(sockets.map((websocket) => websocket.closed))
})

test('a log is not read faster than it is taken', async () => {
  const { log, websocket } = await followed()
  const line = frame(OUT, 'x'.repeat(60_000))
  let sent = 0
  const full = deferred()
  const total = 400
  const more = () => {
    while (sent < total) {
      sent++
      if (!websocket.binary(line)) {
        full.resolve()
        websocket.socket.once('drain', more)
        return
      }
    }
    websocket.close()
  }
  more()
  await full.promise
  // What fits into the buffers goes; then nothing.
  for (let before = -1; before !== sent;) {
    before = sent
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  assert.ok(sent < total, `${sent} of ${total} pieces were sent`)
  let length = 0
  for await (const { text } of log) length += text.length
  assert.equal(length, total * 60_000)
})

test('a command that runs ends when its sandbox stops', async () => {
  const stopped = await server.connect().create()
  const { process } = stopped
  await process.createSession('s')
  const blocked = process.executeSessionCommand('s', { command: 'touch up; sleep 300' })
  const failed = assert.rejects(blocked, { name: 'DaytonaSandboxDiedError' })
  await process.executeCommand('until [ -e up ]; do sleep 0.02; done', undefined, undefined, 20)
  const begin = performance.now()
  await stopped.stop()
  await failed
  assert.ok(performance.now() - begin < 5000)
  await stopped.delete()
})

test('input waits for the pipe of a command just started', async () => {
  let count = 0
  const early = await startFake((request, response) => {
    request.resume()
    const isEarly = ++count < 3
    response.statusCode = isEarly ? 500 : 204
    response.end(isEarly ? JSON.stringify({ message: 'failed to open input pipe: no such file or directory' }) : '')
  })
  try {
    const { process } = early.sandbox
    await process.sendSessionCommandInput('s', 'c', 'line')
    assert.equal(count, 3)
  } finally {
    await early.stop()
  }
})
