// Run it: node examples/node/sessions.mjs
// Runs commands in a shell that keeps its state, and follows the log of one while it runs.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
const shell = sandbox.process
try {
  await shell.createSession('build')
  await shell.executeSessionCommand('build', { command: 'mkdir app; cd app; export NAME=app' })
  const { stdout } = await shell.executeSessionCommand('build', { command: 'echo "$NAME in $(pwd)"' })
  console.log('state is kept:', stdout.trim())

  const steps = 'for n in 1 2 3; do echo step $n; sleep 0.1; done; echo warning >&2'
  const { cmdId } = await shell.executeSessionCommand('build', { command: steps, runAsync: true })
  for await (const { stream, text } of await shell.followSessionCommandLogs('build', cmdId)) {
    process.stdout.write(`${stream}: ${text}`)
  }
  console.log('exit code', (await shell.getSessionCommand('build', cmdId)).exitCode)

  const asking = await shell.executeSessionCommand('build', { command: 'read answer; echo "got $answer"', runAsync: true })
  await shell.sendSessionCommandInput('build', asking.cmdId, 'yes')
  // The same with callbacks, as the official package has it.
  const write = (text) => process.stdout.write(text)
  await shell.getSessionCommandLogs('build', asking.cmdId, write, write)
  await shell.deleteSession('build')
} finally {
  await sandbox.delete()
}
