import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import net from 'node:net'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import * as native from 'daytona-native'
import { cleanEnvironment, json, run, startFake } from './support.mjs'

const { Daytona, DaytonaError, DaytonaInvalidArgumentError } = native
const require = createRequire(import.meta.url)

let answer
let fake
before(async () => {
  fake = await startFake((request, response) => {
    request.resume()
    answer(request, response)
  })
})
after(() => fake.stop())

/** Official names between two classes that the core knows, which has one where Node has two. */
const BETWEEN = {
  DaytonaValidationError: 'DaytonaBadRequestError',
  DaytonaAuthorizationError: 'DaytonaForbiddenError',
}

test("the classes are those of the core's table", () => {
  const bridge = require(join(dirname(require.resolve('daytona-native/package.json')), 'daytona-native.node'))
  const rows = bridge.errorClasses()
  assert.ok(rows.length > 30)
  for (const { name, parent } of rows) {
    const type = native[name]
    assert.equal(typeof type, 'function', name)
    assert.equal(type.name, name)
    const chain = []
    for (let at = type; at !== Error; at = Object.getPrototypeOf(at)) chain.push(at.name)
    const wanted = BETWEEN[parent] ?? parent
    assert.ok(chain.includes(parent) || chain.includes(wanted), `${name} does not extend ${parent}: ${chain}`)
    assert.ok(chain.includes('DaytonaError'))
  }
  const known = new Set([...rows.map((row) => row.name), ...Object.values(BETWEEN)])
  for (const name of Object.keys(native)) {
    if (/^Daytona\w+Error$/.test(name)) assert.ok(known.has(name), `${name} is not in the core's table`)
  }
})

test('a code selects the class before the status does', async () => {
  const bridge = require(join(dirname(require.resolve('daytona-native/package.json')), 'daytona-native.node'))
  for (const { name, code } of bridge.errorClasses()) {
    if (code === undefined) continue
    answer = (_, response) => json(response, 418, { statusCode: 418, message: 'm', code, source: native.SOURCE_DAEMON })
    await assert.rejects(fake.sandbox.fs.getFileDetails('a'), (error) => {
      assert.equal(error.constructor, native[name])
      assert.equal(error.code, code)
      return true
    })
  }
})

test('a status selects the class', async () => {
  const classes = {
    400: 'DaytonaValidationError',
    401: 'DaytonaAuthenticationError',
    403: 'DaytonaAuthorizationError',
    404: 'DaytonaNotFoundError',
    408: 'DaytonaTimeoutError',
    409: 'DaytonaConflictError',
    410: 'DaytonaGoneError',
    422: 'DaytonaUnprocessableEntityError',
    500: 'DaytonaInternalServerError',
    501: 'DaytonaUnsupportedError',
  }
  for (const [status, name] of Object.entries(classes)) {
    answer = (_, response) => json(response, Number(status), { message: 'no' })
    await assert.rejects(fake.sandbox.process.executeCommand('true'), (error) => {
      assert.equal(error.constructor.name, name)
      assert.equal(error.name, name)
      assert.equal(error.statusCode, Number(status))
      return true
    })
  }
})

test('an error says all that is known', async () => {
  const body = { statusCode: 409, message: 'it sleeps', code: 'ASLEEP', source: native.SOURCE_API }
  answer = (_, response) => json(response, 409, body, { 'X-Request-Id': 'request-7', 'X-Extra': 'yes' })
  const error = await fake.sandbox.process.executeCommand('true').catch((error) => error)
  assert.ok(error instanceof native.DaytonaConflictError && error instanceof DaytonaError && error instanceof Error)
  assert.equal(error.message, 'it sleeps')
  assert.equal(error.statusCode, 409)
  assert.equal(error.code, 'ASLEEP')
  assert.equal(error.errorCode, 'ASLEEP')
  assert.equal(error.source, native.SOURCE_API)
  assert.equal(error.requestId, 'request-7')
  assert.equal(error.operation, 'process.exec')
  assert.equal(error.attempts, 1)
  assert.equal(error.headers['x-extra'], 'yes')
  assert.equal(error.headers.get('X-Extra'), 'yes')
  assert.equal(error.headers.has('x-missing'), false)
  assert.equal(error.cause, undefined)
})

test('the stack leads to the line that waits', async () => {
  answer = (_, response) => json(response, 404, { message: 'gone' })
  async function theCaller() {
    await fake.sandbox.fs.getFileDetails('a')
  }
  const error = await theCaller().catch((error) => error)
  assert.match(error.stack, /^DaytonaNotFoundError: gone\n/)
  assert.match(error.stack, /FileSystem\.getFileDetails/)
  assert.match(error.stack, /theCaller .*errors\.test\.mjs/)
  assert.doesNotMatch(error.stack, /toError/)
})

test('a refused connection has a cause', async () => {
  const listener = net.createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address()
  listener.close()
  await once(listener, 'close')
  const daytona = new Daytona({ apiUrl: `http://127.0.0.1:${port}/api`, apiKey: 'k' })
  const error = await daytona.get('any').catch((error) => error)
  assert.equal(error.constructor, native.DaytonaConnectionError)
  assert.ok(error.attempts > 1)
  const causes = []
  for (let cause = error.cause; cause; cause = cause.cause) causes.push(cause.message)
  assert.match(causes.join('\n'), /refused/i)
})

test('a connection that timed out is a timeout, and its subclasses are not', () => {
  const late = new native.DaytonaConnectionTimeoutError('late')
  assert.ok(late instanceof native.DaytonaTimeoutError)
  assert.ok(late instanceof native.DaytonaConnectionError)
  assert.ok(!(late instanceof native.DaytonaProcessExecutionTimeoutError))
  assert.ok(!(new native.DaytonaConnectionError('broken') instanceof native.DaytonaTimeoutError))
  assert.ok(new native.DaytonaProcessExecutionTimeoutError('slow') instanceof native.DaytonaTimeoutError)
})

test('errors can be made and extended like the official ones', () => {
  const error = new native.DaytonaNotFoundError('m', 404, { a: 'b' }, 'CODE', 'SOURCE')
  assert.deepEqual([error.statusCode, error.headers, error.code, error.source], [404, { a: 'b' }, 'CODE', 'SOURCE'])
  class Own extends DaytonaError {}
  assert.equal(new Own('m').name, 'Own')
  assert.match(String(new Own('m')), /^Own: m$/)
})

test('bad input is refused before anything is sent', async () => {
  const { process: runner, fs } = fake.sandbox
  const before = fake.requests.length
  const refused = [
    () => runner.executeCommand(''),
    () => runner.executeCommand(5),
    () => runner.executeCommand('true', 7),
    () => runner.executeCommand('true', undefined, { 'A B': 'x' }),
    () => runner.executeCommand('true', undefined, { A: 5 }),
    () => runner.executeCommand('true', undefined, undefined, -1),
    () => runner.executeCommand('true', undefined, undefined, Number.NaN),
    () => runner.executeCommand('true', undefined, undefined, '5'),
    () => runner.executeCommand('true', undefined, undefined, undefined, { signal: 'stop' }),
    () => runner.codeRun(undefined),
    () => runner.codeRun('1', { argv: 'a' }),
    () => fs.createFolder('a', 'rwx'),
    () => fs.uploadFile(5, 'a'),
    () => fs.uploadFile('/no/such/file', 'a'),
    () => fs.uploadFileStream(5, 'a'),
    () => fs.uploadFiles([{ destination: 'a' }]),
    () => fs.downloadFiles([{}]),
    () => fs.listFiles('.', { depth: 1.5 }),
    () => fs.listFiles('.', { depth: 0 }),
    () => fs.replaceInFiles('a', 'b', 'c'),
    () => fake.sandbox.setAutostopInterval(-1),
    () => fake.sandbox.setAutostopInterval(1.5),
    () => fake.sandbox.setLabels('a'),
    () => fake.sandbox.downloadUrl('a', Number.NaN),
    () => fake.daytona.create({ autoStopInterval: '5' }),
    () => fake.daytona.create({ autoStopInterval: 1.5 }),
    () => fake.daytona.create({ autoStopInterval: Number.NaN }),
    () => fake.daytona.create({ language: 'cobol' }),
    () => fake.daytona.create('params'),
    () => fake.daytona.get(5),
    () => fake.daytona.list({ createdAtAfter: new Date(Number.NaN) }).next(),
  ]
  for (const call of refused) {
    await assert.rejects(call(), DaytonaInvalidArgumentError, String(call))
  }
  assert.equal(fake.requests.length, before)
  await assert.rejects(fake.daytona.create({ autoStopInterval: -1 }), /autoStopInterval/)
  await assert.rejects(fake.daytona.create({ autoStopInterval: 1.5 }), /autoStopInterval/)
})

test('settings out of range are refused at once', () => {
  for (const requestTimeoutMs of [-1, Number.NaN, Number.POSITIVE_INFINITY, '5']) {
    assert.throws(() => new Daytona({ apiKey: 'k', requestTimeoutMs }), DaytonaInvalidArgumentError)
  }
  assert.throws(() => new Daytona({ apiKey: 'k', apiUrl: 'ftp://host' }), DaytonaInvalidArgumentError)
  assert.throws(() => new Daytona('key'), DaytonaInvalidArgumentError)
  assert.ok(new Daytona({ apiKey: 'k', requestTimeoutMs: 0 }))
})

test('without a credential there is no client', async () => {
  const program = `
    import { Daytona, DaytonaAuthenticationError } from 'daytona-native'
    try { new Daytona() } catch (error) { console.log(error instanceof DaytonaAuthenticationError, error.message) }`
  const { stdout, stderr } = await run(program, { env: cleanEnvironment() })
  assert.match(stdout, /^true Authentication credentials not found\. Set DAYTONA_API_KEY/, stderr)
})

test('warnings go through process.emitWarning', async () => {
  const program = `
    import { Daytona } from 'daytona-native'
    process.on('warning', (warning) => console.log(warning.name, warning.message))
    new Daytona()`
  const env = { ...cleanEnvironment(), DAYTONA_API_KEY: 'k', DAYTONA_SERVER_URL: 'http://127.0.0.1:1' }
  const { stdout, stderr } = await run(program, { env })
  assert.match(stdout, /^DeprecationWarning DAYTONA_SERVER_URL is deprecated/, stderr)
})

test('requestTimeoutMs ends a request that is not answered', async () => {
  answer = () => {}
  const daytona = new Daytona({ apiUrl: `${fake.base}/api`, apiKey: 'k', requestTimeoutMs: 50 })
  const begin = performance.now()
  await assert.rejects(daytona.get('slow'), native.DaytonaTimeoutError)
  assert.ok(performance.now() - begin < 10_000)
})
