import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { install } from '../integrations/host.mjs'
import { cleanEnvironment, startServer } from './support.mjs'

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url))

/** What each one prints, whatever server it runs on. */
const PRINTED = {
  chart: /^a line chart, Squares, with \[ 'squares' \]\nsaved as .*chart\.png\n$/,
  data_analysis_agent: /saw: KeyError: 'revenue'[^]*ANSWER: growth in percent: \{'north': 42, 'south': 75\}\n$/,
  declarative_image:
    /^FROM python:[^]*\nENV GREETING=hello\nWORKDIR \/app\n[^]*host view[^]*\nhello from \/app with 5 words\nfrom the snapshot: hello from \/app with 5 words\n$/,
  ephemeral: /^made: true true\nquick\ngone with its stop\n$/,
  fan_out: /^100 sandboxes, 20 at a time, in [\d.]+ s\n$/,
  from_snapshot: /^sandbox 0: prepared\nsandbox 1: prepared\n$/,
  git_workflow: /^on feature with \[ 'hello.py' \]\npushed true\nbranches: \[ 'feature', 'main' \]\n$/,
  interpreter: /^apple 3\npear 4\nresult 7\nraised KeyError 'plum'\napart False \/tmp\n$/,
  lifecycle: /^after stop: stopped\nafter the archive: kept\n(after pause: paused|not here: .+)\nlabels: [^]*done[^]*\ndeleted\n$/,
  network: /^allowed: pypi.org,\*.pythonhosted.org\nexample.com is not found\nblocked: true - pypi.org is not found\nopen: true\n$/,
  preview: /^for whoever has it, for ten minutes: http\S+\n200 <h1>Hello from a sandbox<\/h1>\n$/,
  quickstart: /run a Python program: 42\n[^]*download to a local file: This is note three.\n[^]*delete the sandbox\n$/,
  resources: /^has \d+ cores, \d+ GiB of memory, \d+ GiB of disk\nuses [^]*\n(not here: [^]*)?has \d+ GiB now\n$/,
  rollouts: /^(round \d: best reward -\d+\.\d\n){5}$/,
  sandbox_provider: /step 3 of the example\n[^]*terminated\n$/,
  sessions: /^state is kept: app in \S+\/app\n[^]*stdout: step 3\n[^]*exit code 0\nyes\ngot yes\n$/,
  streaming: /stdout: link \.\.\.\n[^]*exit code 0\nYour name\? Hello Node\nready\n[^]*bye\nhello 1 from \/tmp\nhello 2 from \/tmp\nhello 3 from \/tmp\n$/,
  terminal: /30 100[^]*\/tmp[^]*40 120[^]*exit code 3\n$/,
  terminal_backend:
    /^from a fresh sandbox\n\/home\/daytona\nexit code 3\nstopped: TimeoutError\nkept from one command to the next\nstep 1\nstep 2\nstep 3\n[^]*python/,
  volumes: /^written by the first\n$/,
}

// These name an image: here they run on the local server that they start themselves, with or without images.
const OWN_SERVER = ['declarative_image', 'sandbox_provider', 'terminal_backend']
const NAMES = (await readdir(join(EXAMPLES, 'node'))).map((file) => file.replace('.mjs', ''))

let folder
let server
let env
let runtime
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'examples-'))
  server = await startServer()
  env = { ...cleanEnvironment(), DAYTONA_API_URL: server.url, DAYTONA_API_KEY: server.apiKey }
  const sandbox = await server.connect().create()
  runtime = sandbox.labels
  await sandbox.delete()
})
after(async () => {
  try {
    await server?.stop()
  } finally {
    await rm(folder, { recursive: true })
  }
})

/** What the server's runtime lacks for an example. */
function missing(name) {
  if (name === 'network' && !runtime['daytona-native/limits'].includes('network')) return 'sandboxes have no network of their own'
  if (['declarative_image', 'volumes'].includes(name) && runtime['daytona-native/runtime'] !== 'ns') return 'sandboxes have no file system of their own'
  return false
}

async function run(name) {
  const own = { ...cleanEnvironment(), XDG_DATA_HOME: join(folder, name) }
  if (name === 'declarative_image') own.DAYTONA_NATIVE_IMAGE_FALLBACK = 'host'
  const child = spawn(process.execPath, [join(EXAMPLES, 'node', `${name}.mjs`)], {
    cwd: folder,
    env: { ...process.env, ...(OWN_SERVER.includes(name) ? own : env) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) child[name].on('data', (piece) => (output[name] += piece))
  const [code] = await once(child, 'close')
  assert.equal(code, 0, output.stdout + output.stderr)
  return output
}

test('each example is run, and says how', async () => {
  for (const name of NAMES) {
    assert.ok(Object.hasOwn(PRINTED, name), name)
    const text = await readFile(join(EXAMPLES, 'node', `${name}.mjs`), 'utf8')
    assert.ok(text.startsWith(`// Run it: node examples/node/${name}.mjs\n`), name)
  }
})

for (const name of NAMES) {
  test(`the example ${name}`, async (t) => {
    const why = missing(name)
    if (why) return t.skip(why)
    const { stdout, stderr } = await run(name)
    assert.match(stdout, PRINTED[name])
    if (name === 'fan_out') assert.ok(stderr.endsWith(`\r[${'#'.repeat(40)}] 100/100\n`), stderr)
    return undefined
  })
}

test('the chart is a picture', async () => {
  assert.deepEqual([...(await readFile(join(folder, 'chart.png'))).subarray(1, 4)], [...Buffer.from('PNG')])
})

test('the coding agent of Flue', async () => {
  const host = await install('coding-agent')
  const { code, output } = await host.run('../../examples/flue/coding_agent.mjs', { env })
  assert.equal(code, 0, output)
  assert.match(output, /Setup: [^]*npm install[^]*Coder: [^]*# pass 1\n# fail 0\n[^]*sum.js \| 2 \+-/)
})
