// Run it: node examples/node/terminal_backend.mjs
// A terminal for an agent: each command in a sandbox of its own, one that is kept, and files that stay.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona, TerminalBackend } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
// The local server has a snapshot that shows this machine's programs.
const source = process.env.DAYTONA_API_KEY ? { image: 'ubuntu:24.04' } : { snapshot: 'host' }

const fresh = new TerminalBackend({ terminal: { backend: 'daytona', daytona: { ...source, timeout: 60 } } }, { daytona })
const { stdout, exitCode } = await fresh.run('echo from a fresh sandbox; pwd; exit 3')
console.log(stdout + `exit code ${exitCode}`)
try {
  await fresh.run('sleep 60', { signal: AbortSignal.timeout(500) })
} catch (error) {
  console.log('stopped:', error.name)
}
await fresh.close()

const kept = new TerminalBackend({ terminal: { daytona: { ...source, keepAlive: true, maxIdle: 300 } } }, { daytona })
await kept.run('cat >notes', { stdin: 'kept from one command to the next\n' })
const command = await kept.exec('cat notes; for n in 1 2 3; do echo step $n; sleep 0.1; done')
for await (const { text } of command) process.stdout.write(text)
await kept.close()

console.log(TerminalBackend.images())
