// Run it: node examples/node/resources.mjs
// Looks at what a sandbox has and uses, and gives it less memory.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona, DaytonaUnsupportedError } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
try {
  console.log(`has ${sandbox.cpu} cores, ${sandbox.memory} GiB of memory, ${sandbox.disk} GiB of disk`)
  const used = await sandbox.getMetricsLatest()
  console.log(`uses ${used.cpuUsedPct.toFixed()} % of them and ${(used.memUsed / 2 ** 20).toFixed()} MiB`)
  await sandbox.stop()
  try {
    await sandbox.resize({ memory: 1 })
  } catch (error) {
    if (!(error instanceof DaytonaUnsupportedError)) throw error
    console.log('not here:', error.message)
  }
  await sandbox.start()
  console.log(`has ${sandbox.memory} GiB now`)
} finally {
  await sandbox.delete()
}
