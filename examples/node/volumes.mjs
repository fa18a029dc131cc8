// Run it: node examples/node/volumes.mjs
// Shares files between sandboxes through a volume that outlives them.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
let volume = await daytona.volume.create(`example-${randomUUID().slice(0, 8)}`)
while (volume.state !== 'ready') {
  await setTimeout(500)
  volume = await daytona.volume.get(volume.name)
}
const volumes = [{ volumeId: volume.id, mountPath: '/home/daytona/shared' }]
try {
  const writer = await daytona.create({ volumes })
  await writer.process.executeCommand("echo 'written by the first' > shared/note.txt")
  await writer.delete(60, true)
  const reader = await daytona.create({ volumes })
  console.log(String(await reader.fs.downloadFile('shared/note.txt')).trim())
  await reader.delete(60, true)
} finally {
  await daytona.volume.delete(volume)
}
