// Run it: node examples/node/from_snapshot.mjs
// Prepares a sandbox once, and makes others that begin where it was.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { randomUUID } from 'node:crypto'
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const name = `prepared-${randomUUID().slice(0, 8)}`
const first = await daytona.create()
try {
  await first.fs.uploadFile(Buffer.from("print('prepared')\n"), 'tool.py')
  await first.stop()
  await first.createSnapshot(name)
} finally {
  await first.delete()
}
const snapshot = await daytona.snapshot.get(name)
try {
  for (const number of [0, 1]) {
    const sandbox = await daytona.create({ snapshot: name })
    console.log(`sandbox ${number}:`, (await sandbox.process.executeCommand('python3 tool.py')).result.trim())
    await sandbox.delete()
  }
} finally {
  await daytona.snapshot.delete(snapshot)
}
