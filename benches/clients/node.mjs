// Follows a plan with a Node client: the official one or ours, they look the same.
// Usage: node --expose-gc node.mjs <package entry> <plan>

import { createReadStream, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const SMALL = 1024
const [entry, text] = process.argv.slice(2)
const plan = JSON.parse(text)
const { Daytona } = createRequire(import.meta.url)(entry)

const statusKib = (name) => {
  const match = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))
  return match ? Number(match[1]) : 0
}
const small = (index) => `bench/b${SMALL}-${index}`
const large = `bench/b${plan.bytes}-0`
const connect = (apiUrl) => new Daytona({ apiUrl, apiKey: plan.key })
const check = (condition, text) => {
  if (!condition) throw new Error(`the measured call went wrong: ${text}`)
}

const construct = []
let daytona
for (let i = 0; i < 5; i++) {
  const begin = performance.now()
  daytona = connect(plan.api_url)
  construct.push((performance.now() - begin) / 1000)
}
const lists = new Map()
for (const { op, count } of plan.ops) {
  if (op === 'list') lists.set(count, connect(plan.api_url.replace('/api', `/list/${count}/api`)))
}
const sandbox = await daytona.get(plan.sandbox)

const calls = {
  async exec() {
    const answer = await sandbox.process.executeCommand('echo hi')
    check(answer.exitCode === 0, answer.result)
  },
  async burst(count) {
    await Promise.all(Array.from({ length: count }, () => calls.exec()))
  },
  async upload_small(count) {
    const content = Buffer.alloc(SMALL, 7)
    await sandbox.fs.uploadFiles(Array.from({ length: count }, (_, i) => ({ source: content, destination: small(i) })))
  },
  async download_small(count) {
    const files = await sandbox.fs.downloadFiles(Array.from({ length: count }, (_, i) => ({ source: small(i) })))
    for (const file of files) check(file.result?.length === SMALL, file.source)
  },
  async list(count) {
    let seen = 0
    for await (const _ of lists.get(count).list()) seen++
    check(seen === count, `${seen} sandboxes of ${count}`)
  },
  async upload_file() {
    await sandbox.fs.uploadFile(plan.local, large)
  },
  async upload_stream() {
    await sandbox.fs.uploadFileStream(createReadStream(plan.local), large)
  },
  async download_file() {
    await sandbox.fs.downloadFile(large, plan.target)
  },
  async download_memory() {
    const content = await sandbox.fs.downloadFile(large)
    check(content.length === plan.bytes, `${content.length} bytes`)
  },
  async download_stream() {
    let length = 0
    for await (const piece of await sandbox.fs.downloadFileStream(large)) length += piece.length
    check(length === plan.bytes, `${length} bytes`)
  },
  log_lines: (mb) => log('lines', mb),
  log_frames: (mb) => log('frames', mb),
  async pty_output(mb) {
    let length = 0
    const onData = (data) => { length += data.length }
    const handle = await sandbox.process.createPty({ id: `output-${mb}`, onData })
    await handle.waitForConnection()
    await handle.sendInput('go\n')
    await handle.wait()
    check(length === mb * 1_000_000, `${length} bytes`)
  },
  async pty_echo(count) {
    let seen = ''
    let wake
    const onData = (data) => {
      seen += Buffer.from(data).toString('latin1')
      wake?.()
    }
    const shown = async (holds) => { while (!holds()) await new Promise((resolve) => { wake = resolve }) }
    const handle = await sandbox.process.createPty({ id: `echo-${process.pid}`, onData })
    await handle.waitForConnection()
    await handle.sendInput("stty raw -echo; printf 'REA''DY'; cat\n")
    await shown(() => seen.endsWith('READY'))
    for (let i = 0; i < count; i++) {
      seen = ''
      await handle.sendInput('k')
      await shown(() => seen !== '')
    }
    // The stub has no such route.
    await handle.kill().catch(() => {})
    await handle.disconnect()
  },
  async interpret() {
    const result = await sandbox.codeInterpreter.runCode("print('hi')")
    check(result.stdout === 'hi\n', result.stdout)
  },
}

let session
async function log(kind, mb) {
  const { process: shell } = sandbox
  if (!session) {
    session = `node-${process.pid}`
    await shell.createSession(session)
  }
  // The stub looks at its second word, a real shell runs it.
  const command = `: ${kind}-${mb}; yes ${'l'.repeat(99)} | head -c ${mb}000000`
  const { cmdId } = await shell.executeSessionCommand(session, { command, runAsync: true })
  let length = 0
  const take = (text) => { length += text.length }
  await shell.getSessionCommandLogs(session, cmdId, take, take)
  check(length === mb * 1_000_000, `${length} bytes`)
}

const taken = []
for (const op of plan.ops) {
  const call = calls[op.op]
  for (let i = 0; i < (op.warm ?? 0); i++) await call(op.count)
  globalThis.gc?.()
  writeFileSync('/proc/self/clear_refs', '5')
  const base = statusKib('VmRSS')
  const cpu = process.cpuUsage()
  const begin = performance.now()
  let last = begin
  const each = []
  while (each.length < op.reps || last - begin < (op.seconds ?? 0) * 1000) {
    await call(op.count)
    const now = performance.now()
    each.push((now - last) / 1000)
    last = now
  }
  const used = process.cpuUsage(cpu)
  each.sort((a, b) => a - b)
  taken.push({
    op: op.op,
    count: op.count ?? 0,
    reps: each.length,
    wall: (last - begin) / 1000 / each.length,
    cpu: (used.user + used.system) / 1e6 / each.length,
    p50: each[each.length >> 1],
    base_kib: base,
    peak_kib: statusKib('VmHWM'),
  })
}
// Some clients keep the process alive.
process.stdout.write(`${JSON.stringify({ construct, taken })}\n`, () => process.exit(0))
