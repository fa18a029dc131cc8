// Run it: node examples/node/quickstart.mjs
// Creates a sandbox, runs a command and a program in it, moves files, and deletes it.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Daytona } from 'daytona-native'

const onDaytona = Boolean(process.env.DAYTONA_API_KEY)
const daytona = onDaytona ? new Daytona() : Daytona.local()

async function step(title, work) {
  const begin = performance.now()
  const result = await work()
  const took = (performance.now() - begin).toFixed(1).padStart(8)
  console.log(`${took} ms  ${title}${result === undefined ? '' : `: ${result}`}`)
}

console.log(onDaytona ? 'On Daytona' : 'On a local server')
let sandbox
await step('create a sandbox', async () => {
  sandbox = await daytona.create({ language: 'python', labels: { example: 'quickstart' } })
  return `${sandbox.id} (${sandbox.state})`
})
const folder = await mkdtemp(join(tmpdir(), 'quickstart-'))
try {
  await step('run a command', async () => {
    const answer = await sandbox.process.executeCommand('echo "Hello from $(uname -s), $GREETED"', undefined, {
      GREETED: 'Node',
    })
    return answer.result.trim()
  })
  await step('run a Python program', async () => {
    const answer = await sandbox.process.codeRun('import sys\nprint(sum(int(n) for n in sys.argv[1:]))', {
      argv: ['20', '22'],
    })
    return answer.result.trim()
  })
  await step('upload three files', async () => {
    await sandbox.fs.createFolder('notes', '755')
    await sandbox.fs.uploadFiles(
      ['one', 'two', 'three'].map((name) => ({
        source: Buffer.from(`This is note ${name}.\n`),
        destination: `notes/${name}.txt`,
      })),
    )
  })
  await step('list them', async () => {
    const files = await sandbox.fs.listFiles('notes')
    return files.map((file) => `${file.name} (${file.size} bytes)`).join(', ')
  })
  await step('search in them', async () => {
    const matches = await sandbox.fs.findFiles('notes', 'two')
    return matches.map((match) => `${match.file}:${match.line}: ${match.content}`).join(', ')
  })
  await step('find them by name', async () => (await sandbox.fs.searchFiles('notes', 't*.txt')).files.join(', '))
  await step('download into memory', async () => (await sandbox.fs.downloadFile('notes/one.txt')).toString().trim())
  await step('download to a local file', async () => {
    const path = join(folder, 'three.txt')
    await sandbox.fs.downloadFile('notes/three.txt', path)
    return (await readFile(path, 'utf8')).trim()
  })
} finally {
  await rm(folder, { recursive: true })
  await step('delete the sandbox', () => sandbox.delete(60, true))
}
