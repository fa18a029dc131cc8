// Terminals.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  DaytonaConflictError,
  DaytonaConnectionError,
  DaytonaInvalidArgumentError,
  DaytonaNotFoundError,
  DaytonaSandboxDiedError,
  DaytonaTimeoutError,
  PtyHandle,
} from 'daytona-native'
import { collect, deferred, run, startFake, startServer } from './support.mjs'

let server
let daytona
let sandbox
let commands
before(async () => {
  server = await startServer()
  daytona = server.connect()
  sandbox = await daytona.create()
  commands = sandbox.process
})
after(() => server?.stop())

/** What a terminal has shown, and a way to wait for more. */
function screen() {
  let shown = ''
  let waiting = []
  const decoder = new TextDecoder()
  return {
    onData(data) {
      shown += decoder.decode(data, { stream: true })
      waiting = waiting.filter(({ pattern, resolve }) => !pattern.test(shown) || resolve())
    },
    shows(pattern) {
      const { promise, resolve } = deferred()
      waiting.push({ pattern, resolve })
      this.onData(new Uint8Array())
      return promise
    },
    get shown() {
      return shown
    },
  }
}

test('a shell that is typed into, and its end', async () => {
  const { onData, shows, ...display } = screen()
  const terminal = await commands.createPty({
    id: 'main',
    cwd: '/tmp',
    envs: { GREETING: 'good day' },
    cols: 100,
    rows: 30,
    onData,
  })
  assert.ok(terminal instanceof PtyHandle)
  assert.equal(terminal.sessionId, 'main')
  assert.equal(terminal.isConnected(), true)
  assert.deepEqual([terminal.exitCode, terminal.error], [undefined, undefined])
  await terminal.waitForConnection()
  const info = await commands.getPtySessionInfo('main')
  assert.deepEqual([info.id, info.active, info.cols, info.rows, info.cwd], ['main', true, 100, 30, '/tmp'])
  assert.ok((await commands.listPtySessions()).some(({ id }) => id === 'main'))
  await terminal.sendInput('echo "<$GREETING>"; stty size\n')
  await shows.call({ onData }, /<good day>\r\n30 100\r\n/)
  const resized = await terminal.resize(120, 40)
  assert.deepEqual([resized.cols, resized.rows], [120, 40])
  await terminal.sendInput(new TextEncoder().encode('stty size; exit 3\n'))
  assert.deepEqual(await terminal.wait(), { exitCode: 3, error: undefined })
  await shows.call({ onData }, /40 120\r\n/)
  assert.deepEqual([terminal.isConnected(), terminal.exitCode], [false, 3])
  await assert.rejects(terminal.sendInput('more'), DaytonaConnectionError)
  await terminal.disconnect()
  void display
})

test('without a function it is iterated, and a loop can be left and taken up', async () => {
  const terminal = await commands.createPty({ id: 'loop' })
  await terminal.sendInput('echo one-$((1 + 1)); echo end-$((1 + 1))\n')
  let shown = ''
  for await (const data of terminal) {
    assert.ok(Buffer.isBuffer(data))
    shown += data
    if (shown.includes('one-2')) break
  }
  assert.equal(terminal.isConnected(), true)
  await terminal.sendInput('exit\n')
  for await (const data of terminal) shown += data
  assert.match(shown, /end-2/)
  assert.deepEqual(await terminal.wait(), { exitCode: 0, error: undefined })
})

test('a function excludes loops', async () => {
  const terminal = await commands.createPty({ id: 'both', onData: () => {} })
  await assert.rejects(terminal[Symbol.asyncIterator]().next(), DaytonaInvalidArgumentError)
  await terminal.kill()
  await terminal.wait()
})

test('all output is there before the end is told', async () => {
  let length = 0
  const terminal = await commands.createPty({
    id: 'much',
    async onData(data) {
      await new Promise((resolve) => setImmediate(resolve))
      length += data.length
    },
  })
  await terminal.sendInput('stty -echo -opost; PS1=; seq 1 200000; exit\n')
  await terminal.wait()
  assert.ok(length > 1_288_895, `${length} bytes`)
})

test('an error of the function ends the connection and is told', async () => {
  const enough = new Error('enough')
  const terminal = await commands.createPty({
    id: 'failing',
    onData() {
      throw enough
    },
  })
  const ended = assert.rejects(terminal.wait(), (error) => error === enough)
  await terminal.sendInput('echo hello\n').catch(() => {})
  await ended
  assert.equal(terminal.isConnected(), false)
  await commands.killPtySession('failing')
})

test('killing', async () => {
  const terminal = await commands.createPty({ id: 'killed', onData: () => {} })
  await terminal.kill()
  const { exitCode } = await terminal.wait()
  assert.equal(exitCode, 137)
  const other = await commands.createPty({ id: 'killed-by-id', onData: () => {} })
  await commands.killPtySession('killed-by-id')
  await other.wait()
  await assert.rejects(commands.killPtySession('killed-by-id'), DaytonaNotFoundError)
})

test('several waits end together', async () => {
  const terminal = await commands.createPty({ id: 'waits', onData: () => {} })
  const waits = [terminal.wait(), terminal.wait(), terminal.wait()]
  await terminal.sendInput('exit 4\n')
  assert.deepEqual(
    (await Promise.all(waits)).map(({ exitCode }) => exitCode),
    [4, 4, 4],
  )
})

test('a wait has a limit and a signal of its own', async () => {
  const terminal = await commands.createPty({ id: 'limits', onData: () => {} })
  await assert.rejects(terminal.wait({ timeout: 0.05 }), DaytonaTimeoutError)
  await assert.rejects(terminal.wait({ signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' })
  assert.equal(terminal.isConnected(), true)
  await terminal.kill()
  await terminal.wait()
})

test('a terminal outlives its connection, and shows again what it has shown', async () => {
  const first = screen()
  const terminal = await commands.createPty({ id: 'again', onData: first.onData })
  await terminal.sendInput('echo before-$((1 + 1))\n')
  await first.shows(/before-2/)
  await terminal.disconnect()
  const second = screen()
  const again = await commands.connectPty('again', { onData: second.onData, replay: true })
  await second.shows(/before-2/)
  await again.sendInput('echo after-$((1 + 1)); exit\n')
  assert.equal((await again.wait()).exitCode, 0)
  assert.match(second.shown, /after-2/)
})

test('a terminal that nobody holds is let go, and its shell lives on', async () => {
  await (async () => {
    await commands.createPty({ id: 'dropped' })
  })()
  for (let round = 0; round < 20; round++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.equal((await commands.getPtySessionInfo('dropped')).active, true)
  await commands.killPtySession('dropped')
})

test('what cannot be is refused', async () => {
  await assert.rejects(commands.createPty(), DaytonaInvalidArgumentError)
  await assert.rejects(commands.createPty({ id: 'x', cols: 0 }), DaytonaInvalidArgumentError)
  await assert.rejects(commands.createPty({ id: 'x', rows: 100_000 }), DaytonaInvalidArgumentError)
  await assert.rejects(commands.createPty({ id: 'x', cols: 1.5 }), DaytonaInvalidArgumentError)
  await assert.rejects(commands.createPty({ id: 'x', onData: 'print' }), DaytonaInvalidArgumentError)
  await assert.rejects(commands.resizePtySession('x', -1, 1), DaytonaInvalidArgumentError)
  await assert.rejects(commands.connectPty('nowhere', { onData: () => {} }), DaytonaNotFoundError)
  await commands.createPty({ id: 'taken' })
  await assert.rejects(commands.createPty({ id: 'taken' }), DaytonaConflictError)
  await commands.killPtySession('taken')
})

test('a signal gives up a connection that does not become one', async () => {
  const closed = [deferred(), deferred()]
  let count = 0
  const fake = await startFake(
    () => {},
    (websocket) => websocket.closed.then(closed[count++].resolve),
  )
  try {
    for (const open of ['createPty', 'connectPty']) {
      const argument = open === 'createPty' ? { id: 'x', onData: () => {} } : 'x'
      const rest = open === 'createPty' ? [] : [undefined]
      const opened = fake.sandbox.process[open](argument, ...rest, { signal: AbortSignal.timeout(50) })
      await assert.rejects(opened, { name: 'TimeoutError' })
    }
    await Promise.all(closed.map(({ promise }) => promise))
  } finally {
    await fake.stop()
  }
})

test('stopping the sandbox ends a terminal', async () => {
  const stopped = await daytona.create()
  const terminal = await stopped.process.createPty({ id: 'x', onData: () => {} })
  const ended = terminal.wait().then(
    (exit) => exit,
    (error) => assert.ok(error instanceof DaytonaSandboxDiedError, error),
  )
  const begin = performance.now()
  await stopped.stop()
  await ended
  assert.ok(performance.now() - begin < 5000)
  assert.equal(terminal.isConnected(), false)
  await stopped.delete()
})

test('a function keeps the process alive until the end, and no function does not', async () => {
  const program = (rest) => `
    import { Daytona } from 'daytona-native'
    const daytona = new Daytona({ apiUrl: '${server.url}', apiKey: '${server.apiKey}' })
    const sandbox = await daytona.get('${sandbox.id}')
    ${rest}`
  const alive = await run(
    program(`
      let shown = ''
      process.on('exit', () => console.log(/late-2/.test(shown)))
      const terminal = await sandbox.process.createPty({ id: 'alive', onData: (data) => { shown += Buffer.from(data) } })
      await terminal.sendInput('sleep 0.3; echo late-$((1 + 1)); exit\\n')`),
  )
  assert.deepEqual([alive.code, alive.stdout, alive.stderr], [0, 'true\n', ''])
  const idle = await run(program("await sandbox.process.createPty({ id: 'idle' }); console.log('there')"))
  assert.deepEqual([idle.code, idle.stdout, idle.stderr], [0, 'there\n', ''])
  await commands.killPtySession('idle')
})
