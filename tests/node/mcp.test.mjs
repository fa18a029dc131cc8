import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { install } from '../integrations/host.mjs'
import { cleanEnvironment, serverBinary, startServer } from './support.mjs'

let host
let server
before(async () => {
  host = await install('mcp')
  server = await startServer()
})
after(() => server?.stop())

test('the client library of the protocol works with the MCP server', async () => {
  const address = { DAYTONA_API_URL: server.url, DAYTONA_API_KEY: server.apiKey }
  const env = { ...cleanEnvironment(), ...address, BINARY: serverBinary() }
  const { code, output } = await host.run('mcp.mjs', { env, args: ['--test-reporter=tap'] })
  assert.equal(code, 0, output)
})
