import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { install } from '../integrations/host.mjs'
import { cleanEnvironment, startServer } from './support.mjs'

const GUIDE = 'integrations/flue/sandbox--daytona-native.md'
let host
let server
before(async () => {
  host = await install('flue')
  await host.extract(GUIDE, '// flue-blueprint: sandbox/daytona-native@1', 'blueprint.ts')
  server = await startServer()
})
after(() => server?.stop())

test('the runtime of Flue works in sandboxes', async () => {
  const env = { ...cleanEnvironment(), DAYTONA_API_URL: server.url, DAYTONA_API_KEY: server.apiKey }
  const { code, output } = await host.run('flue.mjs', { env, args: ['--test-reporter=tap'] })
  assert.equal(code, 0, output)
})

test('the declarations are what Flue asks for', () => host.checkTypes('flue.mts', 'blueprint.ts'))
