// What the tests share: the real local server, and a fake one that misbehaves on purpose.
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Daytona } from 'daytona-native'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')

setFlagsFromString('--expose_gc')
/** Collects garbage now. */
export const collect = runInNewContext('gc')

/** The server's binary: what `make build` built, or what `DAYTONA_NATIVE_BINARY` names. */
export function serverBinary() {
  const binary = process.env.DAYTONA_NATIVE_BINARY ?? join(root, 'bindings-node/bin/daytona-native')
  if (!existsSync(binary)) throw new Error(`${binary} is not there: run make build, or set DAYTONA_NATIVE_BINARY`)
  return binary
}

/** Starts a server with an empty data directory, and with more options than that. */
export async function startServer(...options) {
  const directory = await mkdtemp(join(tmpdir(), 'daytona-node-test-'))
  const log = join(directory, 'log')
  const output = openSync(log, 'w')
  const settings = ['--port', '0', '--json', '--data-dir', join(directory, 'data'), ...options]
  const child = spawn(serverBinary(), ['serve', ...settings], {
    stdio: ['ignore', 'pipe', output],
  })
  closeSync(output)
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  const [line] = await Promise.race([
    once(lines, 'line'),
    exited.then(([code]) => Promise.reject(new Error(`the server ended with ${code}: ${readFileSync(log)}`))),
  ])
  const { url, apiKey } = JSON.parse(line)
  return {
    url,
    apiKey,
    dataDir: join(directory, 'data'),
    connect: () => new Daytona({ apiUrl: url, apiKey }),
    async stop() {
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 30_000)
      await exited
      clearTimeout(late)
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Hands connections on to a server as to one that does not know streamed commands. */
export async function startOld({ url, apiKey }) {
  const target = new URL(url)
  const sockets = new Set()
  const listener = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname)
    for (const [source, sink] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(source)
      source.on('data', (data) => {
        const text = data.toString('latin1').replace('/process/execute/stream', '/process/unknown/stream')
        sink.write(text, 'latin1')
      })
      source.on('error', () => {})
      source.on('close', () => {
        sockets.delete(source)
        sink.destroy()
      })
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const own = new URL(url)
  own.port = String(listener.address().port)
  return {
    connect: () => new Daytona({ apiUrl: own.href, apiKey }),
    stop() {
      listener.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/**
 * A server whose answers the test decides. `answer(request, response)` gets what is not about the one
 * sandbox, whose id is `fake`; `connect(websocket, path)` gets what wants to be a websocket; `requests`
 * holds `METHOD path` of all that came; `data` is changed to change what is said of the sandbox.
 */
export async function startFake(answer, connect) {
  const requests = []
  const data = {}
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://fake')
    requests.push(`${request.method} ${pathname}`)
    if (request.method === 'GET' && pathname === '/api/sandbox/fake') {
      request.resume()
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ ...sandboxData(base), ...data }))
      return
    }
    answer(request, response, pathname)
  })
  server.on('upgrade', (request, socket) => {
    const { pathname } = new URL(request.url, 'http://fake')
    requests.push(`${request.method} ${pathname}`)
    if (connect) connect(websocket(request, socket), pathname)
    else socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${server.address().port}`
  const daytona = new Daytona({ apiUrl: `${base}/api`, apiKey: 'fake-key' })
  return {
    base,
    data,
    daytona,
    requests,
    sandbox: await daytona.get('fake'),
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The server's end of a websocket. `closed` is when the client's connection has ended. */
function websocket(request, socket) {
  const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = createHash('sha1').update(key).digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
  const send = (opcode, payload) => {
    const { length } = payload
    const head = Buffer.from([0x80 | opcode, 126, length >> 8, length & 255])
    return socket.write(Buffer.concat([length < 126 ? Buffer.from([head[0], length]) : head, payload]))
  }
  const CLOSE = 8
  // A client sends one frame at a time here, and reads on until the close frame is answered.
  socket.on('data', ([first]) => (first & 15) === CLOSE && socket.end())
  socket.on('end', () => socket.end())
  socket.on('error', () => {})
  return {
    binary: (payload) => send(2, Buffer.from(payload)),
    text: (payload) => send(1, Buffer.from(payload)),
    close: (code = 1000) => send(CLOSE, Buffer.from([code >> 8, code & 255])),
    destroy: () => socket.destroy(),
    closed: new Promise((resolve) => socket.once('close', resolve)),
    socket,
  }
}

function sandboxData(base) {
  return {
    id: 'fake',
    name: 'fake',
    organizationId: 'organization',
    user: 'daytona',
    env: {},
    labels: { 'code-toolbox-language': 'python' },
    public: false,
    target: 'local',
    cpu: 1,
    gpu: 0,
    memory: 1,
    disk: 3,
    state: 'started',
    toolboxProxyUrl: `${base}/toolbox`,
  }
}

/** Answers with JSON. */
export function json(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

/** A promise and the functions that settle it. */
export function deferred() {
  let resolve
  let reject
  const promise = new Promise((one, other) => {
    resolve = one
    reject = other
  })
  return { promise, resolve, reject }
}

/** Runs a program in a Node of its own and gives its exit code and output. */
export async function run(source, { args = [], env = {}, flags = [], input = 'module' } = {}) {
  const child = spawn(process.execPath, [...flags, `--input-type=${input}`, '--eval', source, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (piece) => (stdout += piece))
  child.stderr.on('data', (piece) => (stderr += piece))
  const [code, signal] = await once(child, 'close')
  return { code, signal, stdout, stderr }
}

/** Waits until no program runs that names a folder: a local server goes some time after its last client. */
export async function ended(folder) {
  while (execFileSync('ps', ['-A', '-ww', '-o', 'args='], { encoding: 'utf8' }).includes(folder)) await pause(50)
}

/** The environment without any setting of a client. */
export function cleanEnvironment() {
  return Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => name.startsWith('DAYTONA_'))
      .map((name) => [name, undefined]),
  )
}
