// Types into a terminal of a sandbox, leaves it, and comes back to it.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
const onData = (data) => process.stdout.write(data)
try {
  const terminal = await sandbox.process.createPty({ id: 'main', cols: 100, rows: 30, envs: { PS1: '> ' }, onData })
  await terminal.sendInput('cd /tmp; stty size\n')
  await terminal.resize(120, 40)
  await terminal.disconnect()

  // The shell is still there, in the directory it was left in.
  const again = await sandbox.process.connectPty('main', { onData, replay: true })
  await again.sendInput('pwd; stty size; exit 3\n')
  const { exitCode } = await again.wait()
  console.log('exit code', exitCode)
} finally {
  await sandbox.delete()
}
