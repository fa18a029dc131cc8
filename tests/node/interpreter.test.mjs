// The code interpreter.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { CodeInterpreter, DaytonaInvalidArgumentError, DaytonaTimeoutError, Result } from 'daytona-native'
import { deferred, startServer } from './support.mjs'

let server
let interpreter
before(async () => {
  server = await startServer()
  const sandbox = await server.connect().create()
  interpreter = sandbox.codeInterpreter
  assert.ok(interpreter instanceof CodeInterpreter && interpreter === sandbox.codeInterpreter)
})
after(() => server?.stop())

test('output comes while the code runs, in order', async () => {
  const seen = []
  const first = deferred()
  const done = interpreter.runCode('import sys\nprint("one", flush=True)\nx = input() if False else 1\nprint("two")', {
    onStdout({ output }) {
      seen.push(output)
      first.resolve()
    },
  })
  await first.promise
  assert.deepEqual(await done, { stdout: 'one\ntwo\n', stderr: '' })
  assert.equal(seen.join(''), 'one\ntwo\n')
})

test('an exception is a part of the result', async () => {
  const seen = []
  const outcome = await interpreter.runCode('import sys\nprint("e", file=sys.stderr)\n1 / 0', {
    onStderr: ({ output }) => seen.push(output),
    onError: (error) => seen.push(error.name),
  })
  assert.equal(outcome.stderr, 'e\n')
  assert.deepEqual([outcome.error.name, outcome.error.value], ['ZeroDivisionError', 'division by zero'])
  assert.match(outcome.error.traceback, /ZeroDivisionError: division by zero/)
  assert.deepEqual(seen, ['e\n', 'ZeroDivisionError'])
})

test('a function that gives a promise is waited for, and its error ends the run', async () => {
  const order = []
  await interpreter.runCode('print("a")', {
    async onStdout() {
      await new Promise((resolve) => setTimeout(resolve, 20))
      order.push('callback')
    },
  })
  order.push('end')
  assert.deepEqual(order, ['callback', 'end'])
  const enough = new Error('enough')
  const failing = interpreter.runCode('print("a", flush=True)\nimport time\ntime.sleep(300)', {
    onStdout: () => Promise.reject(enough),
  })
  await assert.rejects(failing, (error) => error === enough)
  // The code has been interrupted.
  assert.equal((await interpreter.runCode('print("free")', { timeout: 20 })).stdout, 'free\n')
})

test('a signal interrupts the code', async () => {
  const controller = new AbortController()
  const running = interpreter.runCode('kept = 5\nprint("up", flush=True)\nimport time\ntime.sleep(300)', {
    signal: controller.signal,
    onStdout: () => controller.abort('enough'),
  })
  await assert.rejects(running, (reason) => reason === 'enough')
  assert.equal((await interpreter.runCode('print(kept)', { timeout: 20 })).stdout, '5\n')
  await assert.rejects(interpreter.runCode('1', controller), (reason) => reason === 'enough')
})

test('a time limit', async () => {
  await assert.rejects(interpreter.runCode('import time\ntime.sleep(300)', { timeout: 1 }), DaytonaTimeoutError)
  assert.equal((await interpreter.runCode('print(1)')).stdout, '1\n')
})

test('results are asked for', async () => {
  assert.equal((await interpreter.runCode('40 + 2')).results, undefined)
  const { results } = await interpreter.runCode('{"a": [1]}', { results: true })
  assert.ok(results[0] instanceof Result)
  assert.deepEqual([results[0].isMain, results[0].text, results[0].json], [true, "{'a': [1]}", { a: [1] }])
  const seen = []
  const outcome = await interpreter.runCode('40 + 2', { onResult: (result) => seen.push(result) })
  assert.deepEqual(seen, outcome.results)
  assert.equal(seen[0].data['text/plain'], '42')
})

test('contexts', async () => {
  const context = await interpreter.createContext('/tmp')
  assert.deepEqual([context.cwd, context.language, context.active], ['/tmp', 'python', true])
  await interpreter.runCode('only = 1', { context })
  assert.equal((await interpreter.runCode('print("only" in globals())')).stdout, 'False\n')
  assert.equal((await interpreter.runCode('print(only)', { context })).stdout, '1\n')
  assert.deepEqual(
    (await interpreter.listContexts()).map(({ id }) => id),
    [context.id],
  )
  await interpreter.deleteContext(context)
  assert.deepEqual(await interpreter.listContexts({ timeout: 5 }), [])
})

test('what cannot be is refused', async () => {
  for (const code of ['', ' \n', 5, undefined]) {
    await assert.rejects(interpreter.runCode(code), DaytonaInvalidArgumentError)
  }
  await assert.rejects(interpreter.runCode('1', { onStdout: 'print' }), DaytonaInvalidArgumentError)
  await assert.rejects(interpreter.runCode('1', { timeout: -1 }), DaytonaInvalidArgumentError)
  await assert.rejects(interpreter.deleteContext('id'), DaytonaInvalidArgumentError)
  await assert.rejects(interpreter.deleteContext(), DaytonaInvalidArgumentError)
})
