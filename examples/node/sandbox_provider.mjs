// Run it: node examples/node/sandbox_provider.mjs
// A sandbox for a worker: provisioned, watched, and terminated by its handle.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { SandboxProvider } from 'daytona-native'

const spec = { env: { JOB: 'the example' }, timeoutSec: 600 }
if (!process.env.DAYTONA_API_KEY) {
  process.env.DAYTONA_API_URL = 'local'
  spec.snapshot = 'host'
}
const worker = 'for n in 1 2 3; do echo step $n of $JOB; sleep 0.2; done'
const provider = new SandboxProvider({ image: 'debian:12', command: ['sh', '-c', worker] })
const handle = await provider.provision(spec)
try {
  // Any process may go on with it.
  const kept = JSON.stringify(handle)
  console.log(kept)
  console.log(await provider.status(JSON.parse(kept)))
  for await (const { text } of await provider.streamLogs(handle)) process.stdout.write(text)
  console.log(await provider.capabilities())
} finally {
  await provider.terminate(handle, { force: true })
}
console.log(await provider.status(handle))
