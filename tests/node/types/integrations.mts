// Checked, not run: the integrations as ES modules load them.
import { Daytona, type Sandbox } from 'daytona-native'
import plugin, { DaytonaPlugin, type DaytonaHooks, type OpenCodeToolResult } from 'daytona-native/opencode'
import { daytona, type FileStat, type FlueSandbox, type FlueSandboxFactory, type ShellResult } from 'daytona-native/flue'

const sandbox: Sandbox = await new Daytona().create()
const factory: FlueSandboxFactory = daytona(sandbox)
daytona(sandbox, { runtime: await import('daytona-native') })
const environment: FlueSandbox = await factory.createSandbox({ id: 'i' })
const { signal } = new AbortController()
const ended: ShellResult = await environment.exec('ls', { cwd: '/', env: { A: '1' }, timeoutMs: 5, signal })
const stat: FileStat = await environment.stat('a')
const bytes: Uint8Array = await environment.readFileBuffer('a')
await environment.rm('a', { recursive: true, force: true })
// @ts-expect-error not every sandbox is one of this package
daytona({ id: 'other' })
void [ended, stat, bytes]

const hooks: DaytonaHooks = await DaytonaPlugin(
  { client: {}, directory: '/', worktree: '/' },
  { sandboxed: true, sync: false, create: { autoStopInterval: 30 }, daytona: { apiKey: 'key' } },
)
const context = { sessionID: 's', abort: signal, metadata() {}, async ask() {} }
const answered: OpenCodeToolResult | undefined = await hooks.tool['daytona:spin']?.execute({ repoUrl: 'u' }, context)
// @ts-expect-error no such setting
await DaytonaPlugin({ client: {}, directory: '/', worktree: '/' }, { sandbox: false })
void [answered, plugin === DaytonaPlugin]
