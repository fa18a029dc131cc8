// Flue's own runtime works in sandboxes of a real server. Run by tests/node/flue.test.mjs, where both packages are
// installed; the environment says which server.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { fauxAssistantMessage, fauxProvider, fauxText, fauxToolCall } from '@earendil-works/pi-ai'
import { FlueError, SandboxDiedError, init, useModel, useSandbox } from '@flue/runtime'
import { start } from '@flue/runtime/node'
import { createFlueContext } from '@flue/sdk/client'
import { Daytona, DaytonaSandboxDiedError } from 'daytona-native'
import { daytona } from 'daytona-native/flue'
import * as flue1 from 'flue-1'

const client = new Daytona()
let sandbox
let env
before(async () => {
  sandbox = await client.create({ name: 'flue' })
  env = await daytona(sandbox).createSandbox({ id: 'contract' })
})
after(() => sandbox.delete())

/** Starts a command that runs until it is killed, and gives its process id once it runs. */
async function startEndless(environment, options) {
  await environment.rm('pid', { force: true })
  const running = environment.exec('echo $$ > pid.new; mv pid.new pid; exec sleep 1000', options)
  running.catch(() => {})
  const { stdout } = await environment.exec('until test -e pid; do sleep 0.01; done; cat pid')
  return { running, pid: stdout.trim() }
}

const isGone = async (pid) =>
  (await env.exec(`for n in $(seq 500); do kill -0 ${pid} || exit 0; sleep 0.01; done 2>/dev/null; exit 1`)).exitCode === 0

test('both ways to load it give the same function', () => {
  assert.equal(createRequire(import.meta.url)('daytona-native/flue').daytona, daytona)
  assert.throws(() => daytona({ process: {} }), TypeError)
})

test('files are written, read, looked at and listed', async () => {
  assert.equal(env.cwd, await sandbox.getWorkDir())
  await env.writeFile('deep/er/text', 'grüße\n')
  assert.equal(await env.readFile('deep/../deep/er/text'), 'grüße\n')
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
  await env.writeFile(`${env.cwd}/deep/bytes`, bytes)
  const read = await env.readFileBuffer('deep/bytes')
  assert.equal(read.constructor, Uint8Array)
  assert.deepEqual(read, bytes)

  await env.exec('touch -d @1700000000 bytes; ln -s bytes link; ln -s er folder', { cwd: 'deep' })
  const stat = { isFile: true, isDirectory: false, size: 256, mtime: new Date(1_700_000_000_000) }
  assert.deepEqual(await env.stat('deep/bytes'), stat)
  assert.deepEqual(await env.stat('deep/link'), stat)
  const { isFile, isDirectory } = await env.stat('deep/folder')
  assert.deepEqual({ isFile, isDirectory }, { isFile: false, isDirectory: true })
  await assert.rejects(env.stat('deep/none'), /none/)

  assert.deepEqual(await env.readdir('deep'), ['bytes', 'er', 'folder', 'link'])
  await assert.rejects(env.readdir('deep/bytes'))
  await assert.rejects(env.readFile('deep'))
  await assert.rejects(env.readFile('none'), /none/)
  assert.deepEqual(await Promise.all(['deep', 'deep/er/text', 'none'].map((path) => env.exists(path))), [true, true, false])
})

test('folders are made and files removed as node:fs does it', async () => {
  await env.mkdir("it's")
  await assert.rejects(env.mkdir("it's"), /exists/i)
  await assert.rejects(env.mkdir('a/b'), /no such/i)
  assert.equal(await env.exists('a'), false)
  await env.mkdir('a/b', { recursive: true })
  await env.mkdir('a/b', { recursive: true })
  await env.writeFile('a/b/file', '')

  await assert.rejects(env.rm('a'))
  await assert.rejects(env.rm('a', { force: true }))
  assert.equal(await env.exists('a/b/file'), true)
  await env.rm('a/b/file')
  await assert.rejects(env.rm('a/b/file'))
  await assert.rejects(env.rm('none', { recursive: true }))
  await env.rm('none', { force: true })
  await env.rm('none', { recursive: true, force: true })
  await env.rm('a', { recursive: true, force: true })
  assert.equal(await env.exists('a'), false)
})

test('a command has its folder, its variables, both outputs and its exit code', async () => {
  await env.mkdir('work', { recursive: true })
  const options = { cwd: 'work', env: { GREETED: 'wörld' } }
  assert.deepEqual(await env.exec('pwd; echo "$GREETED" >&2; exit 7', options), {
    stdout: `${env.cwd}/work\n`,
    stderr: 'wörld\n',
    exitCode: 7,
  })
  assert.deepEqual(await env.exec('kill -9 $$'), { stdout: '', stderr: '', exitCode: 137 })
  await assert.rejects(env.exec('true', { cwd: 'none' }), /none/)
})

test('a command sees the end of its input at once', async () => {
  assert.deepEqual(await env.exec('cat; echo end'), { stdout: 'end\n', stderr: '', exitCode: 0 })
})

test('a command over its time ends with 124 and what it wrote', async () => {
  const { stdout, stderr, exitCode } = await env.exec('echo $$; sleep 1000', { timeoutMs: 1 })
  assert.equal(exitCode, 124)
  assert.match(stderr, /limit of 1 s/)
  assert.ok(await isGone(stdout.trim()))
})

test('a command that floods is ended', async () => {
  const { stdout, stderr, exitCode } = await env.exec('tr "\\0" x < /dev/zero')
  assert.equal(exitCode, 1)
  assert.ok(stdout.length < 80 * 1024 * 1024)
  assert.match(stderr, /killed/)
})

test('an abort kills the command in the sandbox', async () => {
  const controller = new AbortController()
  const { running, pid } = await startEndless(env, { signal: controller.signal })
  controller.abort(new Error('enough'))
  await assert.rejects(running, { name: 'AbortError', message: /enough/ })
  assert.ok(await isGone(pid))
  await assert.rejects(env.exec('touch sent', { signal: AbortSignal.abort() }), { name: 'AbortError' })
  assert.equal(await env.exists('sent'), false)
})

for (const end of ['stop', 'delete']) {
  test(`a call under way rejects at once when its sandbox ends by ${end}`, async () => {
    const mortal = await client.create()
    const environment = await daytona(mortal).createSandbox({ id: end })
    const { running } = await startEndless(environment)
    const began = performance.now()
    const ended = end === 'stop' ? mortal.stop() : mortal.delete()
    await assert.rejects(running, (error) => {
      assert.ok(error instanceof SandboxDiedError && error instanceof FlueError)
      assert.deepEqual(error.meta, { operation: 'exec', reason: 'stopped' })
      assert.ok(error.cause instanceof DaytonaSandboxDiedError)
      return true
    })
    assert.ok(performance.now() - began < 4000)
    await ended
    if (end === 'stop') await mortal.delete()
  })
}

test('agents work side by side in folders of one sandbox', async (t) => {
  const served = await sandbox.process.executeCommand(`set -e
    git init -q --initial-branch=main seed; cd seed
    echo '{"name": "cloned", "version": "1.2.3"}' > package.json; git add .
    git -c user.name=Seed -c user.email=seed@example.com commit -q -m first
    git clone -q --bare . ../served/seed.git; cd ../served/seed.git; git update-server-info; cd ..
    python3 -u -m http.server --bind 127.0.0.1 0 > ../port 2>/dev/null &
    until grep -qs port ../port; do sleep 0.02; done
    sed 's/.*port \\([0-9]*\\).*/\\1/' ../port; mkdir ../one ../two`)
  const url = `http://127.0.0.1:${served.result.trim()}/seed.git`

  const faux = fauxProvider({ provider: 'scripted', models: [{ id: 'model' }] })
  const seen = []
  /** Calls one tool after the other, and answers with what the last one gave. */
  const script = (calls) => (context) => {
    const results = context.messages.filter(({ role }) => role === 'toolResult')
    seen.push(...results.slice(-1).map(({ isError, content }) => [isError, content.map(({ text }) => text).join('')]))
    const next = calls[results.length]
    return fauxAssistantMessage(next ? [fauxToolCall(...next)] : [fauxText(seen.at(-1)[1])], {
      stopReason: next ? 'toolUse' : 'stop',
    })
  }
  const agent = (cwd) => {
    const Agent = () => {
      useModel('scripted/model')
      useSandbox(daytona(sandbox), { cwd })
      return 'Work.'
    }
    Agent.agentName = cwd
    return Agent
  }
  const [one, two] = ['one', 'two'].map(agent)
  const flue = await start({ agents: [one, two], providers: [faux.provider] })
  t.after(() => flue.stop())
  const run = async (target, calls) => {
    const step = script(calls)
    faux.setResponses(Array.from({ length: calls.length + 1 }, () => step))
    const handle = init(target)
    return (await handle.read(await handle.dispatch('Go.'))).text
  }

  const version = await run(one, [
    ['bash', { command: `git clone -q ${url} project` }],
    ['read', { path: 'project/package.json' }],
    ['edit', { path: 'project/package.json', oldText: '1.2.3', newText: '1.2.4' }],
    ['bash', { command: 'npm --version && node -p "require(\'./project/package.json\').name"' }],
  ])
  assert.match(version, /^\d+\.\d+\.\d+\ncloned/, JSON.stringify(seen))
  const found = await run(two, [
    ['write', { path: 'notes/two.txt', content: 'needle\n' }],
    ['grep', { pattern: 'needle', path: '.' }],
    ['bash', { command: 'pwd; ls; ls ../one' }],
  ])
  assert.match(found, new RegExp(`^${env.cwd}/two\nnotes\nproject`))
  assert.ok(seen.every(([isError]) => !isError), JSON.stringify(seen))
  assert.equal(await env.readFile('two/notes/two.txt'), 'needle\n')
})

test('the file of the blueprint keeps a sandbox for each instance', async () => {
  const { sandboxPerInstance } = await import('./blueprint.ts')
  const factory = sandboxPerInstance({ labels: { made: 'by-blueprint' } })
  await (await factory.createSandbox({ id: 'one' })).writeFile('note', 'kept')
  const made = await client.get('flue-one')
  assert.deepEqual(made.labels.made, 'by-blueprint')
  await made.stop()
  assert.equal(await (await factory.createSandbox({ id: 'one' })).readFile('note'), 'kept')
  await made.delete()
})

test('Flue 1 works in it too', async () => {
  const factory = daytona(sandbox, { runtime: flue1 })
  const environment = await factory.createSessionEnv({ id: 'older' })
  await environment.writeFile('older/file', 'text')
  assert.deepEqual(await environment.exec('cat file; echo e >&2', { cwd: 'older' }), {
    stdout: 'text',
    stderr: 'e\n',
    exitCode: 0,
  })
  const controller = new AbortController()
  const { running, pid } = await startEndless(environment, { signal: controller.signal })
  controller.abort()
  await assert.rejects(running, { name: 'AbortError' })
  assert.ok(await isGone(pid))
})

test('init({ sandbox, cwd }) is the older form of it', async () => {
  const unused = () => assert.fail()
  const context = createFlueContext({
    id: 'older',
    payload: {},
    env: {},
    agentConfig: { roles: {}, resolveModel: () => undefined },
    createDefaultEnv: unused,
    createLocalEnv: unused,
    defaultStore: { save: async () => {}, load: async () => null, delete: async () => {} },
  })
  const cwd = `${env.cwd}/oldest`
  await env.mkdir(cwd)
  const factory = daytona(sandbox, { runtime: await import('@flue/sdk/sandbox') })
  const agent = await context.init({ sandbox: factory, cwd, model: false })
  const session = await agent.session()
  const { stdout, stderr, exitCode } = await session.shell('pwd; echo $GREETED >&2; exit 3', { env: { GREETED: 'you' } })
  assert.deepEqual({ stdout, stderr, exitCode }, { stdout: `${cwd}\n`, stderr: 'you\n', exitCode: 3 })
  await agent.destroy()
  await sandbox.refreshData()
  assert.equal(sandbox.state, 'started')
})
