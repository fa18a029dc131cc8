// Commands with their output as it comes.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { after, before, test } from 'node:test'
import {
  DaytonaInvalidArgumentError,
  DaytonaProcessExecutionTimeoutError,
  DaytonaSandboxDiedError,
  ExecStream,
} from 'daytona-native'
import { collect, run, startFake, startOld, startServer } from './support.mjs'

let server
let daytona
let sandbox
before(async () => {
  server = await startServer()
  daytona = server.connect()
  sandbox = await daytona.create()
})
after(() => server?.stop())

const start = (command, ...rest) => sandbox.process.executeCommandStream(command, ...rest)

async function all(command) {
  const output = { stdout: '', stderr: '' }
  for await (const { stream, text } of command) output[stream] += text
  return output
}

/** Waits until a process of the sandbox that wrote its id to a file has ended. */
async function gone(file) {
  const { exitCode } = await sandbox.process.executeCommand(
    `for n in $(seq 500); do kill -0 $(cat ${file}) 2>/dev/null || exit 0; sleep 0.02; done; exit 1`,
  )
  assert.equal(exitCode, 0, `${file} runs on`)
}

test('output, and how it ended', async () => {
  const command = await start('echo out; echo err >&2; exit 3', '/tmp', { A: 'b' }, 10)
  assert.ok(command instanceof ExecStream)
  assert.deepEqual(await all(command), { stdout: 'out\n', stderr: 'err\n' })
  assert.equal(await command.wait(), 3)
  assert.equal(command.exitCode, 3)
  assert.deepEqual(await all(command), { stdout: '', stderr: '' })
})

test('there is no exit code while it runs', async () => {
  const command = await start('read x; exit $x')
  assert.equal(command.exitCode, undefined)
  await command.writeStdin('7\n')
  assert.equal(await command.wait(), 7)
})

test('a loop that is left takes nothing along', async () => {
  const command = await start('for n in 1 2 3; do echo $n; echo -$n >&2; done; read x; echo $x')
  const seen = []
  for await (const { text } of command) {
    seen.push(text)
    break
  }
  assert.equal(command.exitCode, undefined)
  await command.writeStdin('end\n')
  for await (const { text } of command) seen.push(text)
  assert.deepEqual([...seen.join('')].sort(), [...'1\n2\n3\n-1\n-2\n-3\nend\n'].sort())
  assert.equal(await command.wait(), 0)
})

test('stdin takes text and bytes in order, and is closed', async () => {
  const command = await start('cat')
  const pieces = ['é\n', new Uint8Array([0, 255, 10]), Buffer.from('b').buffer.slice(0, 0), Buffer.from('end')]
  const written = Promise.all([...pieces.map((piece) => command.writeStdin(piece)), command.closeStdin()])
  const data = []
  for await (const chunk of command) data.push(chunk.data)
  await written
  assert.deepEqual(
    Buffer.concat(data),
    Buffer.concat([Buffer.from('é\n'), Buffer.from([0, 255, 10]), Buffer.from('end')]),
  )
  assert.equal(await command.wait(), 0)
})

test('stdin is written no faster than it is read', async () => {
  const command = await start('read x; wc -c')
  const piece = Buffer.alloc(1 << 20)
  let written = 0
  const writing = (async () => {
    await command.writeStdin('\n')
    for (; written < 20; written++) await command.writeStdin(piece)
    await command.closeStdin()
  })()
  const { stdout } = await all(command)
  await writing
  assert.equal(stdout.trim(), String(20 << 20))
})

test('many writes at once keep their order', async () => {
  const command = await start('cat')
  const lines = Array.from({ length: 500 }, (_, n) => `${n} ${'x'.repeat(n * 20)}\n`)
  const written = Promise.all(lines.map((line) => command.writeStdin(line))).then(() => command.closeStdin())
  assert.equal((await all(command)).stdout, lines.join(''))
  await written
})

test('signals by their name and number', async () => {
  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['INT', 130],
    [10, 138],
  ]) {
    const command = await start('echo up; sleep 300')
    for await (const { text } of command) if (text.includes('up')) break
    await command.signal(signal)
    assert.equal(await command.wait(), code)
  }
  const command = await start('sleep 300')
  await assert.rejects(command.signal('SIGNOPE'), DaytonaInvalidArgumentError)
  await command.kill()
  assert.equal(await command.wait(), 137)
})

test('closing kills the command', async () => {
  const command = await start('echo $$ > closed; echo up; exec sleep 300')
  for await (const _ of command) break
  command.close()
  await gone('closed')
  const other = await start('echo $$ > disposed; echo up; exec sleep 300')
  for await (const _ of other) break
  await other[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()
  await gone('disposed')
})

test('a signal that aborts kills the command', async () => {
  const controller = new AbortController()
  const command = await start('echo $$ > aborted; echo up; exec sleep 300', undefined, undefined, undefined, controller)
  for await (const _ of command) break
  const waiting = assert.rejects(command.wait(), (reason) => reason === 'enough')
  const reading = assert.rejects(all(command), (reason) => reason === 'enough')
  controller.abort('enough')
  await Promise.all([waiting, reading])
  await gone('aborted')
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  const late = start('true', undefined, undefined, undefined, controller)
  await assert.rejects(late, (reason) => reason === 'enough')
})

test('a signal of one call ends that call alone', async () => {
  const command = await start('read x; exit 4')
  await assert.rejects(command.wait({ signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' })
  await command.writeStdin('\n')
  assert.equal(await command.wait(), 4)
})

test('a command that nobody holds is killed', async () => {
  await (async () => {
    const command = await start('echo $$ > dropped; echo up; exec sleep 300')
    for await (const _ of command) break
  })()
  const ended = gone('dropped')
  let over = false
  ended.then(
    () => (over = true),
    () => (over = true),
  )
  while (!over) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await ended
})

test('a time limit', async () => {
  const command = await start('echo begun; sleep 300', undefined, undefined, 1)
  await assert.rejects(all(command), DaytonaProcessExecutionTimeoutError)
  await assert.rejects(command.wait(), DaytonaProcessExecutionTimeoutError)
})

test('output that nobody takes does not hold the end', async () => {
  const command = await start('seq 1 2000000; exit 5')
  assert.equal(await command.wait(), 5)
})

test('stopping the sandbox ends what waits', async () => {
  const stopped = await daytona.create()
  const command = await stopped.process.executeCommandStream('echo up; sleep 300')
  for await (const _ of command) break
  const failed = [
    assert.rejects(all(command), DaytonaSandboxDiedError),
    assert.rejects(command.wait(), DaytonaSandboxDiedError),
    assert.rejects(stopped.process.executeCommand('touch one; sleep 300'), DaytonaSandboxDiedError),
    assert.rejects(
      stopped.process.codeRun('import time; open("two", "w").close(); time.sleep(300)'),
      DaytonaSandboxDiedError,
    ),
  ]
  await stopped.process.executeCommand('until [ -e one ] && [ -e two ]; do sleep 0.05; done')
  const begin = performance.now()
  await stopped.stop()
  await Promise.all(failed)
  assert.ok(performance.now() - begin < 5000)
  await stopped.delete()
})

test('what is no bytes is refused', async () => {
  await using_(await start('sleep 300'), async (command) => {
    await assert.rejects(command.writeStdin(5), DaytonaInvalidArgumentError)
    await assert.rejects(command.writeStdin(null), DaytonaInvalidArgumentError)
  })
  await assert.rejects(start(5), DaytonaInvalidArgumentError)
  await assert.rejects(start('true', undefined, undefined, -1), DaytonaInvalidArgumentError)
})

async function using_(command, work) {
  try {
    await work(command)
  } finally {
    command.close()
  }
}

test('a command does not keep the process alive', async () => {
  const { code, stdout, stderr } = await run(`
    import { Daytona } from 'daytona-native'
    const daytona = new Daytona({ apiUrl: '${server.url}', apiKey: '${server.apiKey}' })
    const sandbox = await daytona.get('${sandbox.id}')
    const command = await sandbox.process.executeCommandStream('echo up; sleep 300')
    for await (const { text } of command) { console.log(text.trim()); break }`)
  assert.deepEqual([code, stdout, stderr], [0, 'up\n', ''])
})

test('a server without the route ends stdin', async () => {
  const old = await startOld(server)
  try {
    const { process } = await old.connect().get(sandbox.id)
    const empty = await process.executeCommandStream('cat; echo over >&2')
    await empty.closeStdin()
    assert.deepEqual(await all(empty), { stdout: '', stderr: 'over\n' })
    assert.equal(await empty.wait(), 0)

    const command = await process.executeCommandStream('read a; echo got:$a; cat')
    await command.writeStdin('one\n')
    await command.writeStdin(new Uint8Array([255, 0]))
    await command.closeStdin()
    const data = []
    for await (const chunk of command) data.push(chunk.data)
    assert.deepEqual(Buffer.concat(data), Buffer.concat([Buffer.from('got:one\n'), Buffer.from([255, 0])]))
    assert.equal(await command.wait(), 0)
  } finally {
    old.stop()
  }
})

test('a network that stalls does not outlast a time limit', { timeout: 60_000 }, async () => {
  const stalls = [() => {}, (socket) => socket.text('{"type":"started","stdin":0}')]
  await Promise.all(
    stalls.map(async (stall) => {
      const fake = await startFake(() => {}, stall)
      const { process } = fake.sandbox
      const command = async () => (await process.executeCommandStream('true', undefined, undefined, 1)).wait()
      try {
        await assert.rejects(command, DaytonaProcessExecutionTimeoutError)
      } finally {
        await fake.stop()
      }
    }),
  )
})
