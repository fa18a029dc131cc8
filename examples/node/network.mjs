// Run it: node examples/node/network.mjs
// Limits what a sandbox reaches, and changes that while it runs.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create({ domainAllowList: 'pypi.org,*.pythonhosted.org' })

/** Tells whether a name is found from inside. */
const look = async (name) =>
  (await sandbox.process.executeCommand(`getent hosts ${name}`)).exitCode === 0 ? 'found' : 'not found'
try {
  console.log('allowed:', sandbox.domainAllowList)
  console.log('example.com is', await look('example.com'))
  await sandbox.updateNetworkSettings({ networkBlockAll: true })
  console.log('blocked:', sandbox.networkBlockAll, '- pypi.org is', await look('pypi.org'))
  await sandbox.updateNetworkSettings({ networkBlockAll: false })
  console.log('open:', !sandbox.networkBlockAll)
} finally {
  await sandbox.delete()
}
