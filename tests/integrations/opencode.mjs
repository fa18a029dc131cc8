// The plugin in the published API of OpenCode. Run by tests/node/opencode.test.mjs.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { tool } from '@opencode-ai/plugin'
import { Daytona, DaytonaNotFoundError } from 'daytona-native'
import * as loaded from 'daytona-native/opencode'
import * as server from 'daytona-native/server'

const { DaytonaPlugin } = loaded
const client = new Daytona()
const toasts = []
let folder
let hooks

const git = (...args) => execFileSync('git', args, { cwd: folder, encoding: 'utf8' }).trim()
const parents = { child: 'main' }
const host = () => ({
  directory: folder,
  worktree: folder,
  project: { id: 'project' },
  client: {
    session: {
      get: async ({ path: { id } }) => ({ data: { id, title: `Title of ${id}`, parentID: parents[id] } }),
    },
    tui: { showToast: async ({ body }) => toasts.push(body) },
  },
})

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opencode-project-'))
  git('init', '-q', '--initial-branch=main')
  git('config', 'user.name', 'Me')
  git('config', 'user.email', 'me@example.com')
  await writeFile(join(folder, 'committed.txt'), 'one\n')
  await writeFile(join(folder, '.gitignore'), 'ignored\n')
  git('add', '.')
  git('commit', '-qm', 'first')
  await writeFile(join(folder, 'committed.txt'), 'one\ntwo\n')
  await writeFile(join(folder, 'new.py'), 'def first():\n    return 1\n')
  await writeFile(join(folder, 'ignored'), '')
  hooks = await DaytonaPlugin(host())
})
after(async () => {
  for await (const sandbox of client.list()) await sandbox.delete()
  await rm(folder, { recursive: true })
})

/** Calls a tool as OpenCode does: with arguments that fit its schema, as the model gave them. */
async function call(name, args, { sessionID = 'main', abort = new AbortController().signal, ...context } = {}) {
  const definition = hooks.tool[name]
  tool.schema.object(definition.args).parse(args)
  return definition.execute(args, { sessionID, abort, metadata() {}, async ask() {}, ...context })
}
const output = async (...args) => (await call(...args)).output

async function workspaceOf(sessionID) {
  for await (const { id } of client.list({ labels: { 'opencode-session': sessionID } })) return client.get(id)
  return undefined
}

test('it is one plugin, however it is loaded', () => {
  assert.deepEqual(new Set(Object.values(loaded)), new Set([DaytonaPlugin]))
  assert.deepEqual({ ...server }, { ...loaded })
  assert.equal(createRequire(import.meta.url)('daytona-native/opencode').DaytonaPlugin, DaytonaPlugin)
})

test('tools have names that providers take, and schemas', async () => {
  const sandboxed = ['apply_patch', 'bash', 'edit', 'getPreviewURL', 'glob', 'grep', 'ls', 'lsp', 'multiedit', 'patch', 'read', 'write']
  const four = ['spin', 'exec', 'sync', 'delete']
  assert.deepEqual(Object.keys(hooks.tool).sort(), [...sandboxed, ...four.map((name) => `daytona_${name}`)].sort())
  for (const [name, { description, args }] of Object.entries(hooks.tool)) {
    assert.match(name, /^[a-zA-Z0-9_-]{1,64}$/)
    assert.ok(description.length > 20)
    const { required = [] } = tool.schema.toJSONSchema(tool.schema.object(args))
    assert.equal(required.length > 0, name !== 'ls', name)
  }
  for (const name of four) assert.equal(hooks.tool[`daytona:${name}`], hooks.tool[`daytona_${name}`])

  const bare = await DaytonaPlugin(host(), { sandboxed: false, colons: true })
  assert.deepEqual(Object.keys(bare), ['tool'])
  assert.deepEqual(Object.keys(bare.tool), four.map((name) => `daytona:${name}`))
})

test('nothing is made before a tool is used', async () => {
  assert.equal(await workspaceOf('main'), undefined)
})

test('a session has the files of the repository, also what is not committed', async () => {
  assert.equal(await output('bash', { command: 'cat committed.txt; LC_ALL=C ls -A; git status --short' }), 'one\ntwo\n.git\n.gitignore\ncommitted.txt\nnew.py\n')
  assert.match(git('status', '--short'), /^M committed.txt\n\?\? new.py$/)
  const sandbox = await workspaceOf('main')
  assert.equal(await output('bash', { command: 'hostname' }, { sessionID: 'child' }), await output('bash', { command: 'hostname' }))
  assert.equal((await workspaceOf('child'))?.id, undefined)
  const system = []
  await hooks['experimental.chat.system.transform']({ sessionID: 'main' }, { system })
  assert.match(system[0], new RegExp(`opencode/${sandbox.id.slice(0, 8)}`))
})

test('commands tell what they write as it comes, how they end, and are killed', async () => {
  const seen = []
  const { metadata, title } = await call(
    'bash',
    { command: 'echo out; echo err >&2; exit 3', description: 'Ends' },
    { metadata: ({ metadata }) => seen.push(metadata.output) },
  )
  assert.deepEqual([title, metadata.exit], ['Ends', 3])
  assert.equal([...seen.at(-1).trim().split('\n')].sort().join(), 'err,out')

  assert.match(await output('bash', { command: 'sleep 1000', timeout: 10 }), /limit of 10 ms/)
  assert.equal(await output('bash', { command: 'pwd', workdir: '/tmp' }), '/tmp\n')
  assert.equal(await output('bash', { command: 'cat; echo end' }), 'end\n')
  const long = await output('bash', { command: 'seq 1000000' })
  assert.ok(long.length < 400_000)
  assert.match(long, /^1\n2\n[^]*characters left out[^]*\n1000000\n$/)

  const controller = new AbortController()
  const running = call(
    'bash',
    { command: 'echo $$; exec sleep 1000' },
    { abort: controller.signal, metadata: ({ metadata }) => controller.abort(new Error(metadata.output)) },
  )
  const { message: pid } = await running.then(assert.fail, (error) => error)
  assert.equal(await output('bash', { command: `while kill -0 ${pid.trim()} 2>/dev/null; do sleep 0.01; done; echo gone` }), 'gone\n')
})

test('a command in the background is reached in a browser', async () => {
  const command = 'echo hello > index.html; exec python3 -u -m http.server --bind 127.0.0.1 0'
  const { metadata } = await call('bash', { command, workdir: '/tmp', background: true })
  const port = await output('bash', {
    command: `until grep -q port ${metadata.log}; do sleep 0.02; done; sed 's/.*port \\([0-9]*\\).*/\\1/' ${metadata.log}`,
  })
  const url = await output('getPreviewURL', { port: Number(port) })
  assert.equal(await (await fetch(url)).text(), 'hello\n')
  await output('bash', { command: `kill -- -${metadata.pid}` })
})

test('files are read, written and changed', async () => {
  assert.match(await output('write', { filePath: 'src/deep/a.js', content: 'let a = 1\nlet b = 1\n' }), /written/)
  assert.equal(await output('read', { filePath: join(folder, 'src/deep/a.js') }), '00001| let a = 1\n00002| let b = 1')
  assert.equal(await output('read', { filePath: 'src/deep/a.js', offset: 1 }), '00002| let b = 1')
  assert.match(await output('read', { filePath: 'src/deep/a.js', limit: 1 }), /1 more lines; go on with offset 1/)
  await assert.rejects(output('read', { filePath: 'none' }), /none/)

  await assert.rejects(output('edit', { filePath: 'src/deep/a.js', oldString: '= 1', newString: '= 2' }), /2 times/)
  await assert.rejects(output('edit', { filePath: 'src/deep/a.js', oldString: '= 3', newString: '= 2' }), /exactly/)
  await output('edit', { filePath: 'src/deep/a.js', oldString: '= 1', newString: '= $&', replaceAll: true })
  const edits = [
    { oldString: 'a = $&', newString: 'a = 2' },
    { oldString: 'a = 2', newString: 'a = 3' },
  ]
  await output('multiedit', { filePath: 'src/deep/a.js', edits })
  await assert.rejects(output('multiedit', { filePath: 'src/deep/a.js', edits }), /exactly/)
  assert.equal(await output('bash', { command: 'cat src/deep/a.js' }), 'let a = 3\nlet b = $&\n')
  await output('edit', { filePath: 'made.txt', oldString: '', newString: 'made' })

  const patch = `*** Begin Patch
*** Add File: src/b.txt
+new
*** Update File: src/deep/a.js
*** Move to: src/c.js
@@
-let a = 3
+let a = 4
 let b = $&
*** Delete File: made.txt
*** End Patch`
  await assert.rejects(output('patch', { patchText: patch.replace('a = 3', 'a = 5') }), /does not have these lines/)
  assert.equal(await output('bash', { command: 'ls src made.txt' }), 'made.txt\n\nsrc:\ndeep\n')
  await output('apply_patch', { patchText: patch })
  assert.equal(await output('bash', { command: 'ls; cat src/b.txt src/c.js' }), 'committed.txt\nnew.py\nsrc\nnew\nlet a = 4\nlet b = $&\n')

  const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII='
  await output('bash', { command: `echo ${pixel} | base64 -d > ~/pixel.png; head -c 9 /dev/zero > ~/zeros` })
  const { attachments } = await call('read', { filePath: '~/pixel.png' })
  assert.deepEqual(attachments, [{ type: 'file', mime: 'image/png', url: `data:image/png;base64,${pixel}`, filename: 'pixel.png' }])
  await assert.rejects(output('read', { filePath: '~/zeros' }), /not a text/)
})

test('files are found by name and by content', async () => {
  const { project } = { project: (await output('bash', { command: 'pwd' })).trim() }
  assert.equal(await output('glob', { pattern: 'src/**/*.{js,txt}' }), `${project}/src/b.txt\n${project}/src/c.js`)
  assert.equal(await output('glob', { pattern: '*.rs' }), '(no files)')
  assert.equal(await output('ls', { path: 'src', ignore: ['*.txt'] }), `${project}/src/\nc.js`)
  assert.equal(await output('grep', { pattern: 'let [ab] =', include: '*.{js,ts}' }), `${project}/src/c.js:1:let a = 4\n${project}/src/c.js:2:let b = $&`)
  assert.equal(await output('grep', { pattern: 'let a', path: 'src/c.js' }), `${project}/src/c.js:1:let a = 4`)
  assert.equal(await output('grep', { pattern: 'no such thing' }), '(no matches)')
  await assert.rejects(output('grep', { pattern: '(' }))
  await assert.rejects(output('lsp', { operation: 'documentSymbols', filePath: 'src/b.txt' }), /no language server/)
})

test('a language server is asked, where there is one', async () => {
  const answer = await output('lsp', { operation: 'documentSymbols', filePath: 'new.py' }).catch((error) => error)
  if (answer instanceof Error) assert.match(answer.message, /install/)
  else assert.match(answer, /function first {2}.*new.py:1:/)
})

test('what was done is on a local branch when the session rests', async () => {
  const branch = `opencode/${(await workspaceOf('main')).id.slice(0, 8)}`
  await hooks.event({ event: { type: 'session.idle', properties: { sessionID: 'main' } } })
  assert.deepEqual(toasts.map(({ variant }) => variant), ['success'], JSON.stringify(toasts))
  assert.equal(git('log', '-1', '--format=%s|%an', branch), 'Title of main|Me')
  assert.equal(git('show', `${branch}:src/c.js`), 'let a = 4\nlet b = $&')
  assert.equal(git('merge-base', branch, 'main'), git('rev-parse', 'main'))
  assert.match(git('status', '--short'), /^M committed.txt\n\?\? new.py$/)
  assert.equal(git('symbolic-ref', '--short', 'HEAD'), 'main')
  // Nothing new: nothing is told.
  await hooks.event({ event: { type: 'session.idle', properties: { sessionID: 'main' } } })
  assert.equal(toasts.length, 1)

  // With the branch checked out its files follow.
  git('stash', '-qu')
  git('checkout', '-q', branch)
  await output('write', { filePath: 'src/b.txt', content: 'newer\n' })
  await hooks.event({ event: { type: 'session.idle', properties: { sessionID: 'child' } } })
  assert.equal(await readFile(join(folder, 'src/b.txt'), 'utf8'), 'newer\n')
  assert.equal(git('status', '--short'), '')

  // Commits of the user's own are not lost: the error says where the others are.
  git('commit', '-q', '--allow-empty', '-m', 'mine')
  await output('write', { filePath: 'src/b.txt', content: 'newest\n' })
  await hooks.event({ event: { type: 'session.idle', properties: { sessionID: 'main' } } })
  assert.equal(toasts.at(-1).variant, 'error')
  const [ref] = /refs\/daytona\/\S+(?=:)/.exec(toasts.at(-1).message)
  assert.equal(git('log', '-1', '--format=%s', branch), 'mine')
  assert.equal(git('show', `${ref}:src/b.txt`), 'newest')
  git('merge', '-q', '--no-edit', ref)
  git('checkout', '-q', 'main')
})

test('a later start finds the sandbox of a session, and starts it', async () => {
  const sandbox = await workspaceOf('main')
  await sandbox.stop()
  hooks = await DaytonaPlugin(host())
  assert.equal(await output('bash', { command: 'cat src/b.txt' }), 'newest\n')
  assert.equal((await workspaceOf('main')).id, sandbox.id)
})

test('the sandbox goes with its session, after its work was brought home', async () => {
  const sandbox = await workspaceOf('main')
  await output('write', { filePath: 'last.txt', content: 'last' })
  git('branch', '-D', `opencode/${sandbox.id.slice(0, 8)}`)
  await hooks.event({ event: { type: 'session.deleted', properties: { info: { id: 'main' } } } })
  assert.equal(git('show', `opencode/${sandbox.id.slice(0, 8)}:last.txt`), 'last')
  await assert.rejects(sandbox.refreshData(), DaytonaNotFoundError)
  await hooks.dispose()
})

test('a sandbox is spun, used, synced and deleted', async (t) => {
  const remotes = await mkdtemp(join(tmpdir(), 'opencode-remotes-'))
  t.after(() => rm(remotes, { recursive: true }))
  const there = (folder, ...args) => execFileSync('git', args, { cwd: join(remotes, folder), encoding: 'utf8', stdio: 'pipe' }).trim()
  there('', 'init', '-q', '--bare', '--initial-branch=main', 'team/app.git')
  there('team/app.git', 'config', 'http.receivepack', 'true')
  there('', 'clone', '-q', 'team/app.git', 'seed')
  there('seed', 'checkout', '-q', '-B', 'main')
  const commit = async (content) => {
    await writeFile(join(remotes, 'seed/file'), content)
    there('seed', 'add', '.')
    there('seed', '-c', 'user.name=Seed', '-c', 'user.email=seed@example.com', 'commit', '-qm', content)
    there('seed', 'push', '-q', 'origin', 'main')
  }
  await commit('one\n')

  const port = await serveGit(t, remotes)
  const found = await output('bash', { command: 'getent hosts host.daytona.internal >/dev/null && echo yes' }, { sessionID: 'other' })
  const base = `http://${found === 'yes\n' ? 'host.daytona.internal' : '127.0.0.1'}:${port}`

  await assert.rejects(call('daytona:spin', { repoUrl: `${base}/team/none.git` }))
  await assert.rejects(call('daytona:spin', { repoUrl: 'https:///' }), /names no repository/)
  for await (const { labels } of client.list()) assert.deepEqual(Object.keys(labels).filter((key) => key === 'opencode-repository'), [])

  const { metadata: spun } = await call('daytona:spin', { repoUrl: `${base}/team/app.git`, name: 'spun' })
  const { sandboxId } = spun
  assert.equal((await client.get('spun')).id, sandboxId)
  assert.equal(await output('daytona:exec', { sandboxId, command: 'pwd; cat file; exit 2' }), `${spun.path}\none\nexit code: 2`)
  await output('daytona:exec', { sandboxId, command: 'echo two > file' })
  const asked = []
  const ask = async ({ patterns }) => asked.push(...patterns)
  const { metadata: synced } = await call('daytona:sync', { sandboxId, message: 'Two' }, { ask })
  assert.equal(there('team/app.git', 'log', '-1', '--format=%H %s', 'main'), `${synced.commit} Two`)

  there('seed', 'pull', '-q', 'origin', 'main')
  await commit('theirs\n')
  await output('daytona:exec', { sandboxId, command: 'echo mine > file' })
  await assert.rejects(call('daytona:sync', { sandboxId, message: 'Mine' }, { ask }), /conflict in file.*git rebase/)
  assert.equal(await output('daytona:exec', { sandboxId, command: 'cat file; git status --short' }), 'mine\nexit code: 0')
  await call('daytona:sync', { sandboxId, branch: 'other' }, { ask })
  assert.equal(there('team/app.git', 'log', '-1', '--format=%s', 'other'), 'Mine')

  const refuse = () => Promise.reject(new Error('the user says no'))
  await assert.rejects(call('daytona:delete', { sandboxId }, { ask: refuse }), /says no/)
  await call('daytona:delete', { sandboxId }, { ask })
  await assert.rejects(client.get(sandboxId), DaytonaNotFoundError)
  assert.deepEqual(asked, ['push main', 'push main', 'push other', 'delete spun'])
})

/** Serves the repositories in a folder over HTTP, to be read and written, and gives the port. */
async function serveGit(t, folder) {
  const served = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://git')
    const env = {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: pathname,
      QUERY_STRING: String(searchParams),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
    }
    const child = spawn('git', ['http-backend'], { env, stdio: ['pipe', 'pipe', 'ignore'] })
    request.pipe(child.stdin)
    const pieces = []
    child.stdout.on('data', (piece) => pieces.push(piece))
    child.on('close', () => {
      const answer = Buffer.concat(pieces)
      const end = answer.indexOf('\r\n\r\n')
      const headers = Object.fromEntries(
        answer.subarray(0, end).toString().split('\r\n').map((line) => line.split(/: (.*)/s, 2)),
      )
      response.writeHead(Number.parseInt(headers.Status ?? '200', 10), { 'content-type': headers['Content-Type'] ?? 'text/plain' })
      response.end(answer.subarray(end + 4))
    })
  })
  served.listen(0, '127.0.0.1')
  await once(served, 'listening')
  t.after(() => served.close())
  return served.address().port
}
