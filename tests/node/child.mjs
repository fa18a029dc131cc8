// What `environments.test.mjs` forks.
import { Daytona } from 'daytona-native'

const sandbox = await new Daytona().get('fake')
const { result } = await sandbox.process.executeCommand('true')
process.send(result, () => process.disconnect())
