// Run it: node examples/node/lifecycle.mjs
// Takes a sandbox through its life: stops, archives, starts, pauses and deletes it.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona, DaytonaNotFoundError, DaytonaUnsupportedError } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
try {
  await sandbox.process.executeCommand('echo kept > note.txt')
  await sandbox.stop()
  console.log('after stop:', sandbox.state)
  await sandbox.archive()
  await sandbox.start()
  console.log('after the archive:', String(await sandbox.fs.downloadFile('note.txt')).trim())
  try {
    await sandbox.pause()
    console.log('after pause:', sandbox.state)
    await sandbox.start()
  } catch (error) {
    if (!(error instanceof DaytonaUnsupportedError)) throw error
    console.log('not here:', error.message)
  }
  console.log('labels:', await sandbox.setLabels({ stage: 'done' }))
} finally {
  await sandbox.delete(60, true)
}
await daytona.get(sandbox.id).catch((error) => {
  if (!(error instanceof DaytonaNotFoundError)) throw error
  console.log('deleted')
})
