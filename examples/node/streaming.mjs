// Run it: node examples/node/streaming.mjs
// Runs commands whose output comes while they run, and answers one that asks.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
try {
  const build = await sandbox.process.executeCommandStream(
    'for step in fetch compile link; do echo "$step ..."; sleep 0.2; done; echo "2 warnings" >&2',
  )
  for await (const { stream, text } of build) process.stdout.write(`${stream}: ${text}`)
  console.log('exit code', await build.wait())

  const question = await sandbox.process.executeCommandStream('printf "Your name? "; read name; echo "Hello $name"')
  for await (const { text } of question) {
    process.stdout.write(text)
    if (text.includes('?')) await question.writeStdin('Node\n')
  }

  const server = await sandbox.process.executeCommandStream(
    'trap "echo bye; exit" TERM; echo ready; while :; do sleep 0.1; done',
  )
  for await (const { text } of server) {
    process.stdout.write(text)
    if (text.includes('ready')) await server.signal('SIGTERM')
  }

  // A session keeps its state; a command of it can be followed from anywhere.
  await sandbox.process.createSession('work')
  await sandbox.process.executeSessionCommand('work', { command: 'cd /tmp && export GREETING=hello' })
  const { cmdId } = await sandbox.process.executeSessionCommand('work', {
    command: 'for n in 1 2 3; do echo "$GREETING $n from $PWD"; sleep 0.1; done',
    runAsync: true,
  })
  for await (const { text } of await sandbox.process.followSessionCommandLogs('work', cmdId)) process.stdout.write(text)
} finally {
  await sandbox.delete()
}
