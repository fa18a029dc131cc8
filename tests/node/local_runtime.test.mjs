// The runtime of the local server: seen, demanded, and warned of.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Daytona, DaytonaConflictError, DaytonaInvalidArgumentError } from 'daytona-native'
import { cleanEnvironment, ended, run, startServer } from './support.mjs'

let server
before(async () => {
  server = await startServer('--runtime', 'process')
})
after(() => server.stop())

test('another runtime is refused', async () => {
  const daytona = Daytona.local({ dataDir: server.dataDir, runtime: 'ns' })
  await assert.rejects(daytona.create(), (error) => {
    assert.match(error.message, /runtime process, and ns is asked for.*serve --runtime ns/)
    return error instanceof DaytonaConflictError
  })
  assert.throws(() => Daytona.local({ runtime: 'vm' }), DaytonaInvalidArgumentError)
  assert.throws(() => Daytona.local({ runtime: 5 }), /runtime must be a string/)
})

test('a server that isolates nothing is warned of once', async () => {
  const warnings = []
  const note = (warning) => warnings.push(warning)
  process.on('warning', note)
  try {
    const daytona = Daytona.local({ dataDir: server.dataDir })
    const sandbox = await daytona.create()
    await sandbox.delete()
    assert.equal(await daytona.runtime(), 'process')
    assert.equal(await Daytona.local({ dataDir: server.dataDir }).runtime(), 'process')
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    process.off('warning', note)
  }
  assert.deepEqual(
    warnings.map(({ name }) => name),
    ['DaytonaWarning'],
  )
  assert.match(warnings[0].message, new RegExp(`isolates nothing.*run as the user ${userInfo().username} `))
})

test('a server given by its URL has none', async () => {
  assert.equal(await server.connect().runtime(), undefined)
})

test('a server is started with it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'daytona-local-'))
  try {
    const program = `
      import { Daytona } from 'daytona-native'
      const daytona = Daytona.local({ dataDir: process.argv[1], runtime: 'process' })
      console.log(await daytona.runtime(), (await daytona.create()).state)`
    const { stdout, stderr } = await run(program, { env: cleanEnvironment(), args: [join(folder, 'data')] })
    assert.deepEqual([stdout, stderr], ['process started\n', ''])
  } finally {
    await ended(folder)
    await rm(folder, { recursive: true, force: true })
  }
})
