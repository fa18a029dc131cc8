import type { SandboxFactory } from '@flue/runtime'
import type { SandboxFactory as OlderFactory } from 'flue-1'
import { daytona } from 'daytona-native/flue'
import { Daytona } from 'daytona-native'

const sandbox = await new Daytona().create()
const factory: SandboxFactory = daytona(sandbox)
const older: OlderFactory = daytona(sandbox, { runtime: await import('flue-1') })
console.log(factory, older)
