// Run it: node examples/node/terminal.mjs
// Types into a terminal of a sandbox, leaves it, and comes back to it.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
try {
  const terminal = await sandbox.process.createPty({ id: 'main', cols: 100, rows: 30 })
  await terminal.sendInput('cd /tmp; stty size\n')
  let shown = ''
  for await (const data of terminal) {
    process.stdout.write(data)
    shown += data
    if (shown.includes('30 100')) break
  }
  await terminal.resize(120, 40)
  await terminal.disconnect()

  // The shell is still there, in the directory it was left in.
  const onData = (data) => process.stdout.write(data)
  const again = await sandbox.process.connectPty('main', { onData, replay: true })
  await again.sendInput('pwd; stty size; exit 3\n')
  const { exitCode } = await again.wait()
  console.log('exit code', exitCode)
} finally {
  await sandbox.delete()
}
