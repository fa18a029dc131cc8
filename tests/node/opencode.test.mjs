import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { DaytonaPlugin } from 'daytona-native/opencode'
import { install } from '../integrations/host.mjs'
import { cleanEnvironment, startServer } from './support.mjs'

let host
let server
let env
before(async () => {
  host = await install('opencode')
  server = await startServer('--allow-host-loopback', '--ssh-port', '0')
  env = { ...cleanEnvironment(), DAYTONA_API_URL: server.url, DAYTONA_API_KEY: server.apiKey }
})
after(() => server?.stop())

test('the plugin does what OpenCode asks of plugins', async () => {
  const { code, output } = await host.run('opencode.mjs', { env, args: ['--test-reporter=tap'] })
  assert.equal(code, 0, output)
})

const unsupported = (process.platform !== 'linux' || process.arch !== 'x64') && 'it is installed for Linux on x64 alone'
test('OpenCode works in sandboxes', { skip: unsupported }, async () => {
  const { code, output } = await host.run('opencode_host.mjs', { env, args: ['--test-reporter=tap'] })
  assert.equal(code, 0, output)
})

test('where the package of the plugin API is not found, parameters are JSON schemas', async () => {
  const { tool } = await DaytonaPlugin({ client: {}, directory: '/', worktree: '/' })
  assert.deepEqual(tool.daytona_spin.args.branch, { type: ['string', 'null'], description: tool.daytona_spin.args.branch.description })
  const { items } = tool.multiedit.args.edits
  assert.deepEqual(items.required, ['oldString', 'newString', 'replaceAll'])
  assert.deepEqual(items.properties.replaceAll.type, ['boolean', 'null'])
})

test('the declarations are what OpenCode asks for', () => host.checkTypes('opencode.mts'))
