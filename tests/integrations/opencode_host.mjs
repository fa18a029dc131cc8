// OpenCode itself, with a model that follows a script. Run by tests/node/opencode.test.mjs.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Daytona } from 'daytona-native'

const binary = () => createRequire(import.meta.url).resolve(`opencode-${process.platform}-${process.arch}/bin/opencode`)
const git = (cwd, ...args) => execFileSync('git', args, { cwd, encoding: 'utf8' }).trim()

/** A model as OpenAI serves one. It calls one tool after the other, then says `Done.` */
async function startModel(calls) {
  const requests = []
  const server = http.createServer(async (request, response) => {
    const pieces = []
    for await (const piece of request) pieces.push(piece)
    const { messages, tools } = JSON.parse(Buffer.concat(pieces))
    const results = messages.filter(({ role }) => role === 'tool').map(({ content }) => content)
    if (tools) requests.push({ tools: tools.map((tool) => tool.function.name), results, system: messages.filter(({ role }) => role === 'system').map(({ content }) => content).join('\n') })
    const next = tools && calls[results.length]
    const [name, args] = next ?? []
    const call = { index: 0, id: `call_${results.length}`, type: 'function', function: { name, arguments: JSON.stringify(args) } }
    const delta = next ? { role: 'assistant', tool_calls: [call] } : { role: 'assistant', content: 'Done.' }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const choice of [{ delta }, { delta: {}, finish_reason: next ? 'tool_calls' : 'stop' }]) {
      const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, ...choice }] }
      response.write(`data: ${JSON.stringify(chunk)}\n\n`)
    }
    response.end('data: [DONE]\n\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { requests, url: `http://127.0.0.1:${server.address().port}/v1`, stop: () => server.close() }
}

/** Spares OpenCode the installation of its plugin package, as it does at its first start. */
async function prepare(folder) {
  const installed = join(dirname(fileURLToPath(import.meta.resolve('@opencode-ai/plugin'))), '..')
  const { version } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
  const entry = { version }
  await mkdir(join(folder, 'node_modules/@opencode-ai'), { recursive: true })
  await cp(installed, join(folder, 'node_modules/@opencode-ai/plugin'), { recursive: true })
  const dependencies = { '@opencode-ai/plugin': version }
  await writeFile(join(folder, 'package.json'), JSON.stringify({ dependencies }))
  const packages = { '': { dependencies }, 'node_modules/@opencode-ai/plugin': entry }
  await writeFile(join(folder, 'package-lock.json'), JSON.stringify({ name: 'opencode', lockfileVersion: 3, requires: true, packages }))
}

test('OpenCode works in a sandbox, and its work is on a branch', async (t) => {
  const folder = join(import.meta.dirname, 'project')
  await mkdir(folder)
  const model = await startModel([
    ['bash', { command: 'uname -n; cat given.txt', description: 'Looks around' }],
    ['write', { filePath: join(folder, 'made.txt'), content: 'made in a sandbox\n' }],
    ['edit', { filePath: 'given.txt', oldString: 'given', newString: 'changed' }],
    ['grep', { pattern: 'made|changed' }],
    ['daytona_exec', { sandboxId: 'none', command: 'true' }],
  ])
  t.after(model.stop)
  await writeFile(join(folder, 'daytona.js'), "export { DaytonaPlugin } from 'daytona-native/opencode'\n")
  await writeFile(join(folder, 'given.txt'), 'given\n')
  const provider = { npm: '@ai-sdk/openai-compatible', options: { baseURL: model.url, apiKey: 'key' }, models: { m: { tool_call: true } } }
  const config = { $schema: 'https://opencode.ai/config.json', autoupdate: false, share: 'disabled', plugin: ['./daytona.js'], model: 'scripted/m', small_model: 'scripted/m', provider: { scripted: provider } }
  await writeFile(join(folder, 'opencode.json'), JSON.stringify(config))
  git(folder, 'init', '-q', '--initial-branch=main')
  git(folder, 'config', 'user.name', 'Me')
  git(folder, 'config', 'user.email', 'me@example.com')
  git(folder, 'add', '.')
  git(folder, 'commit', '-qm', 'first')

  const env = { ...process.env, PWD: folder, OPENCODE_DISABLE_AUTOUPDATE: '1', OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_DISABLE_LSP_DOWNLOAD: '1' }
  for (const kind of ['DATA', 'CONFIG', 'CACHE', 'STATE']) env[`XDG_${kind}_HOME`] = join(import.meta.dirname, 'home', kind)
  await prepare(join(env.XDG_CONFIG_HOME, 'opencode'))
  const child = spawn(binary(), ['run', 'Go.'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => (output += piece))
  const [code] = await once(child, 'close')
  assert.equal(code, 0, output)
  assert.match(output, /Done\./)

  const { tools, results, system } = model.requests.at(-1)
  for (const name of ['bash', 'daytona_spin', 'getPreviewURL', 'multiedit']) assert.ok(tools.includes(name), name)
  assert.match(system, /Daytona sandbox/)
  const client = new Daytona()
  const [{ id }] = await Array.fromAsync(client.list())
  const sandbox = await client.get(id)
  const name = (await sandbox.process.executeCommand('uname -n')).result
  assert.equal(results[0], `${name}given\n`)
  assert.match(results[3], /\/project\/given.txt:1:changed\n.*\/project\/made.txt:1:made in a sandbox/)
  assert.match(results[4], /none/)
  const branch = `opencode/${id.slice(0, 8)}`
  assert.equal(git(folder, 'diff', '--stat=80', 'main', branch).split('\n').length, 3)
  assert.equal(git(folder, 'show', `${branch}:made.txt`), 'made in a sandbox')
  assert.equal(git(folder, 'status', '--short'), '')
  await sandbox.delete()
})
