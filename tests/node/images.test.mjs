import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import {
  DaytonaBuildFailedError,
  DaytonaInvalidArgumentError,
  DaytonaNotFoundError,
  Image,
} from 'daytona-native'
import { startServer } from './support.mjs'

let server
let daytona
before(async () => {
  server = await startServer('--image-fallback', 'host')
  daytona = server.connect()
})
after(() => server.stop())

test('the builder', async () => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'image-'))
  await fs.writeFile(path.join(folder, 'main.js'), '')
  const image = Image.base('node:20')
    .pipInstall(['b', 'a>=1'], { pre: true })
    .addLocalFile(path.join(folder, 'main.js'), '/app/')
    .runCommands('true', ['echo', "it's"])
    .env({ A: 'b c' })
    .workdir('/app')
    .entrypoint(['node', 'main.js'])
    .cmd(['--help'])
  assert.equal(
    image.dockerfile,
    `FROM node:20\nRUN python -m pip install a\\>\\=1 b --pre\nCOPY ${folder}/main.js /app/main.js\nRUN true\n` +
      'RUN "echo" "it\\\'s"\nENV A=\'b c\'\nWORKDIR /app\nENTRYPOINT ["node", "main.js"]\nCMD ["--help"]\n',
  )
  assert.deepEqual(image.contextList, [{ sourcePath: `${folder}/main.js`, archivePath: `${folder}/main.js` }])
  assert.throws(() => image.addLocalFile(path.join(folder, 'none'), '/x'), DaytonaNotFoundError)
  for (const refused of [
    () => image.addLocalFile(folder, '/x'),
    () => image.env({ A: 1 }),
    () => image.env({ 'A B': 'c' }),
    () => image.cmd('ls'),
    () => image.pipInstall([1]),
    () => image.dockerfileCommands(['COPY ../x /x'], folder, { strictContext: true }),
    () => image.dockerfileCommands([], undefined, { strictContext: true }),
    () => Image.debianSlim('3.8'),
  ]) {
    assert.throws(refused, DaytonaInvalidArgumentError)
  }
  await assert.rejects(daytona.create({ image: {} }), DaytonaInvalidArgumentError)
  await fs.rm(folder, { recursive: true })
})

test('a snapshot of an image, and its log', async () => {
  const told = []
  const onLogs = (line) => void told.push(line)
  const made = await daytona.snapshot.create({ name: 'built', image: Image.base('debian:12') }, { onLogs })
  assert.equal(made.state, 'active')
  assert.match(told[0], /^Creating snapshot built \(/)
  assert.equal(told.at(-1), 'Created snapshot built (active)')
  let text = ''
  for await (const piece of await daytona.snapshot.buildLogs(made)) text += piece
  assert.match(text, /> FROM debian:12\nhost view: /)
  await assert.rejects(daytona.snapshot.buildLogs('nobody'), DaytonaNotFoundError)
  await daytona.snapshot.delete('built')
})

test('a sandbox of an image, and its log', async () => {
  const told = []
  const onSnapshotCreateLogs = (line) => void told.push(line)
  const sandbox = await daytona.create({ image: Image.base('debian:12') }, { timeout: 60, onSnapshotCreateLogs })
  assert.equal((await sandbox.process.executeCommand('echo here')).result, 'here\n')
  await sandbox.delete()
  assert.match(told.join('\n'), /FROM debian:12/)
  const mine = new Error('mine')
  const fail = () => {
    throw mine
  }
  await assert.rejects(daytona.create({ image: 'debian:12.9' }, { onSnapshotCreateLogs: fail }), mine)
})

test('local files are in the image', async () => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'image-'))
  const app = path.join(folder, 'app')
  await fs.mkdir(app)
  await fs.writeFile(path.join(app, 'main.sh'), 'echo main with $GREETING\n', { mode: 0o755 })
  await fs.writeFile(path.join(app, 'left.log'), 'left out')
  await fs.writeFile(path.join(app, '.dockerignore'), '*.log\n')
  // More than one part.
  await fs.writeFile(path.join(app, 'data'), Buffer.alloc(7 << 20, 'seven'))
  for (const name of ['one.txt', 'two.txt']) await fs.writeFile(path.join(folder, name), name)
  const image = Image.base('debian:12')
    .addLocalDir(app, '/app')
    .addLocalFile(path.join(folder, 'one.txt'), '/texts/first.txt')
    .dockerfileCommands(['COPY t*.txt \\', '  /texts/'], folder)
    .runCommands('wc -c < /app/data > /app/size')
    .env({ GREETING: 'hello there' })
    .workdir('/app')
  const moved = []
  const onUploadProgress = (progress) => void moved.push(progress)
  const sandbox = await daytona.create({ image }, { onUploadProgress })
  assert.ok(moved.at(-1).totalBytes > 7 << 20)
  assert.equal(moved.at(-1).bytesSent, moved.at(-1).totalBytes)
  const { result } = await sandbox.process.executeCommand('ls -A; cat /texts/*; echo; ./main.sh; cat size')
  assert.equal(
    result,
    `.dockerignore\ndata\nmain.sh\nsize\none.txttwo.txt\nmain with hello there\n${7 << 20}\n`,
  )
  await sandbox.delete()
  // All of it is there already: nothing is uploaded, and no step is run again.
  const told = []
  const onLogs = (line) => void told.push(line)
  await daytona.snapshot.create({ name: 'files', image }, { onLogs, onUploadProgress })
  assert.match(told.join("\n"), /Using cache/)
  assert.doesNotMatch(told.join("\n"), /Running in/)
  await daytona.snapshot.delete('files')
  await fs.rm(folder, { recursive: true })
})

test('a failed build tells why', async () => {
  const image = Image.base('debian:12').runCommands('echo before', 'exit 3')
  const told = /build_failed[^]*exit 3[^]*end of the build log:\n[^]*before\n[^]*exit 3/
  await assert.rejects(daytona.create({ image }), (error) => {
    assert.ok(error instanceof DaytonaBuildFailedError && error.sandboxId)
    assert.match(error.message, told)
    return true
  })
  await assert.rejects(daytona.snapshot.create({ name: 'failed', image }), DaytonaBuildFailedError)
  await daytona.snapshot.delete('failed')
})
