// The MCP server, driven by the protocol's own client library for TypeScript.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

const { BINARY, DAYTONA_API_URL, DAYTONA_API_KEY, PATH } = process.env
const env = { DAYTONA_API_URL, DAYTONA_API_KEY, PATH }
const implementation = { name: 'test', version: '1' }

async function call(client, name, args = {}) {
  const result = await client.callTool({ name, arguments: args })
  assert.ok(!result.isError, JSON.stringify(result))
  return result
}

test('over the standard streams', { timeout: 60_000 }, async () => {
  const client = new Client(implementation)
  await client.connect(new StdioClientTransport({ command: BINARY, args: ['mcp'], env }))
  try {
    // Answers are compared with the schemas of the tools that were listed.
    const { tools } = await client.listTools()
    assert.equal(tools.length, 12)
    const { id } = (await call(client, 'create_sandbox')).structuredContent
    const ran = await call(client, 'execute_command', { command: 'echo out; echo err >&2; exit 3' })
    assert.deepEqual(ran.structuredContent, { exitCode: 3, stdout: 'out\n', stderr: 'err\n', truncated: false })
    await call(client, 'file_upload', { file_path: 'a.txt', content: 'text' })
    const file = await call(client, 'file_download', { file_path: 'a.txt' })
    assert.equal(file.content[0].text, 'text')
    const listing = await call(client, 'list_files')
    assert.ok(listing.structuredContent.files.some((entry) => entry.name === 'a.txt'))

    const heard = deferred()
    const stop = new AbortController()
    const running = client.callTool(
      { name: 'execute_command', arguments: { command: 'echo $$ > /tmp/pid; echo working; sleep 600' } },
      undefined,
      { signal: stop.signal, onprogress: ({ message }) => message?.includes('working') && heard.resolve() },
    )
    running.catch(() => {})
    await heard.promise
    stop.abort()
    await assert.rejects(running)
    const ended = 'for _ in $(seq 500); do kill -0 $(cat /tmp/pid) 2>/dev/null || exit 0; sleep 0.02; done; exit 1'
    assert.equal((await call(client, 'execute_command', { command: ended })).structuredContent.exitCode, 0)
    for (const wrong of [{ sandbox_id: id }, { id: '' }, {}, { id: 5 }]) {
      const refused = await client.callTool({ name: 'destroy_sandbox', arguments: wrong })
      assert.ok(refused.isError, JSON.stringify(wrong))
      assert.match(refused.content[0].text, /has no argument "sandbox_id"|id is empty|needs id|id must be a string/)
    }
    await call(client, 'destroy_sandbox', { id })
  } finally {
    await client.close()
  }
})

test('over HTTP', { timeout: 60_000 }, async () => {
  const server = spawn(BINARY, ['--json', 'mcp', '--http', '127.0.0.1:0'], {
    env: { ...env, DAYTONA_MCP_TOKEN: 'given-token' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [line] = await once(createInterface({ input: server.stdout }), 'line')
    const { url, token } = JSON.parse(line)
    assert.equal(token, null)
    const client = new Client(implementation)
    const headers = { Authorization: 'Bearer given-token' }
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))
    await client.listTools()
    const { id } = (await call(client, 'create_sandbox')).structuredContent
    // A session remembers its sandbox.
    const ran = await call(client, 'execute_command', { command: 'echo hi' })
    assert.equal(ran.structuredContent.stdout, 'hi\n')
    await call(client, 'destroy_sandbox', { id })
    await client.close()
    const other = new Client(implementation)
    await assert.rejects(other.connect(new StreamableHTTPClientTransport(new URL(url))))
  } finally {
    const exited = once(server, 'exit')
    server.kill('SIGTERM')
    assert.deepEqual(await exited, [0, null])
  }
})

function deferred() {
  const all = {}
  all.promise = new Promise((resolve) => (all.resolve = resolve))
  return all
}
