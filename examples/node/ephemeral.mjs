// Run it: node examples/node/ephemeral.mjs
// Makes sandboxes that clean up after themselves.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona, DaytonaNotFoundError } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
// Stops after five idle minutes, is deleted when it stops, and lives for an hour at most.
const sandbox = await daytona.create({ ephemeral: true, autoStopInterval: 5, ttlMinutes: 60 })
console.log('made:', sandbox.autoDeleteInterval === 0, sandbox.autoDestroyAt !== undefined)
console.log((await sandbox.process.executeCommand('echo quick')).result.trim())
await sandbox.stop()
await daytona.get(sandbox.id).catch((error) => {
  if (!(error instanceof DaytonaNotFoundError)) throw error
  console.log('gone with its stop')
})
