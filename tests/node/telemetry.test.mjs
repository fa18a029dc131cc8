// What OpenTelemetry is shown, and when it is sent.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { json, run, startFake } from './support.mjs'

const TRACE = '0af7651916cd43dd8448eb211c80319c'

let fake
let headers
let collector
let sent
before(async () => {
  fake = await startFake((request, response) => {
    request.resume()
    headers.push(request.headers)
    json(response, 200, { exitCode: 0, result: 'done' })
  })
  collector = http.createServer(async (request, response) => {
    const pieces = []
    for await (const piece of request) pieces.push(piece)
    sent.push(`${request.url} ${Buffer.concat(pieces).toString('latin1')}`)
    response.end()
  })
  collector.listen(0, '127.0.0.1')
  await once(collector, 'listening')
})
after(async () => {
  await fake?.stop()
  collector.closeAllConnections()
  collector.close()
})

/** Runs a program with a client, and a collector for it. */
async function observed(config, rest) {
  sent = []
  headers = []
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.address().port}` }
  const source = `
    import { Daytona } from 'daytona-native'
    const daytona = new Daytona({ apiUrl: '${fake.base}/api', apiKey: 'k', ...${JSON.stringify(config)} })
    const sandbox = await daytona.get('fake')
    ${rest}`
  const { code, stdout, stderr } = await run(source, { env })
  assert.deepEqual([code, stderr], [0, ''])
  return stdout
}

const ran = () => sent.some((one) => one.startsWith('/v1/traces') && one.includes('Process.executeCommand'))

test('what is left is sent when the process exits', async () => {
  for (const config of [{ otelEnabled: true }, { _experimental: { otelEnabled: true } }]) {
    await observed(config, "await sandbox.process.executeCommand('true'); process.exit(0)")
    assert.ok(ran())
    assert.ok(sent.some((one) => one.startsWith('/v1/metrics') && one.includes('process_execute_command_duration')))
    assert.match(headers[0].traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  }
})

test('disposing of the client sends what there is', async () => {
  const before = await observed(
    { otelEnabled: true },
    `await sandbox.process.executeCommand('true')
     await daytona[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()
     process.reallyExit(0)`,
  )
  assert.equal(before, '')
  assert.ok(ran())
})

test("a call is a part of the program's own span", async () => {
  await observed(
    { otelEnabled: true },
    `const span = { spanContext: () => ({ traceId: '${TRACE}', spanId: 'b7ad6b7169203331', traceFlags: 1 }) }
     const key = Symbol.for('OpenTelemetry Context Key SPAN')
     const active = new Map()
     globalThis[Symbol.for('opentelemetry.js.api.1')] = { context: { active: () => ({ getValue: (name) => active.get(name) }) } }
     active.set(key, span)
     await sandbox.process.executeCommand('true')
     active.delete(key)
     await sandbox.process.executeCommand('true')`,
  )
  assert.ok(headers[0].traceparent.startsWith(`00-${TRACE}-`))
  assert.ok(headers[1].traceparent && !headers[1].traceparent.includes(TRACE))
})

test('it is off by default', async () => {
  await observed({}, "await sandbox.process.executeCommand('true')")
  assert.deepEqual(sent, [])
  assert.equal(headers[0].traceparent, undefined)
})

test('a collector that does not answer holds the exit for a short time only', async () => {
  const silent = http.createServer(() => {})
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  headers = []
  const begin = performance.now()
  const { code } = await run(
    `import { Daytona } from 'daytona-native'
     const daytona = new Daytona({ apiUrl: '${fake.base}/api', apiKey: 'k', otelEnabled: true })
     await daytona.get('fake')`,
    { env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${silent.address().port}` } },
  )
  assert.equal(code, 0)
  assert.ok(performance.now() - begin < 8000)
  silent.closeAllConnections()
  silent.close()
})
