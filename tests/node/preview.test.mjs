// Websockets through previews, with the WebSocket of browsers.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { run, startServer } from './support.mjs'

const program = await readFile(new URL('../../cli/tests/server/preview.py', import.meta.url), 'utf8')
// Before version 22 Node has it behind a flag.
const flags = typeof WebSocket === 'undefined' ? ['--experimental-websocket'] : []

/** Says what came of a connection: its echoes and how it was closed. */
const client = `
  const [url, headers] = process.argv.slice(1)
  const socket = new WebSocket(url, headers ? { headers: JSON.parse(headers) } : [])
  socket.binaryType = 'arraybuffer'
  const got = []
  const end = {}
  socket.onopen = () => socket.send('hello')
  socket.onmessage = ({ data }) => {
    got.push(typeof data === 'string' ? data : [...new Uint8Array(data)])
    if (got.length === 1) socket.send(new Uint8Array([1, 2, 255]))
    else socket.close(4321, 'enough')
  }
  socket.onerror = () => got.push('error')
  socket.onclose = ({ code, wasClean }) => Object.assign(end, { code, wasClean })
  process.on('exit', () => console.log(JSON.stringify({ got, ...end })))
`

let server
let sandbox
let port
before(async () => {
  server = await startServer()
  sandbox = await server.connect().create()
  await sandbox.fs.uploadFile(Buffer.from(program), 'program.py')
  const wait = 'until test -e port; do kill -0 $! || exit 1; sleep 0.02; done; cat port'
  const { result, exitCode } = await sandbox.process.executeCommand(`python3 program.py port >/dev/null 2>&1 & ${wait}`)
  assert.equal(exitCode, 0)
  port = Number(result)
})
after(() => server?.stop())

async function talk(url, headers) {
  const args = headers ? [url, JSON.stringify(headers)] : [url]
  const { stdout, stderr } = await run(client, { args, flags, input: 'commonjs' })
  assert.ok(stdout, stderr)
  return JSON.parse(stdout)
}

const echoed = { got: ['hello', [1, 2, 255]], code: 4321, wasClean: true }
const socketUrl = (url, query = '') => `${url.replace(/^http/, 'ws')}/ws${query}`

test('a browser shows its token in the query, and keeps it as a cookie', async () => {
  const { url, token } = await sandbox.getPreviewLink(port)
  const query = `?DAYTONA_SANDBOX_AUTH_KEY=${token}`
  assert.deepEqual(await talk(socketUrl(url, query)), echoed)
  const page = await fetch(`${url}/${query}`, { headers: { accept: 'text/html' }, redirect: 'manual' })
  const [cookie] = page.headers.get('set-cookie').split(';')
  assert.deepEqual(await talk(socketUrl(url), { cookie }), echoed)
  for (const wrong of ['', `?DAYTONA_SANDBOX_AUTH_KEY=x${token}`]) {
    assert.deepEqual((await talk(socketUrl(url, wrong))).got, ['error'])
  }
})

test('a signed URL needs no token', async () => {
  const { url } = await sandbox.getSignedPreviewUrl(port, 60)
  assert.deepEqual(await talk(socketUrl(url)), echoed)
})
