import type { Hooks, Plugin, PluginInput, PluginModule } from '@opencode-ai/plugin'
import plugin, { DaytonaPlugin } from 'daytona-native/opencode'

const same: Plugin = plugin
const named: Plugin = DaytonaPlugin
const modern: PluginModule = { id: 'daytona', server: DaytonaPlugin }
declare const input: PluginInput
const hooks: Hooks = await DaytonaPlugin(input, { sync: false, create: { autoStopInterval: 5 } })
export { hooks, modern, named, same }
