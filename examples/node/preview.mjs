// Run it: node examples/node/preview.mjs
// Serves a web page in a sandbox and fetches it from outside.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const port = 8080
const ready = `for n in $(seq 200); do (: > /dev/tcp/127.0.0.1/${port}) 2>/dev/null && exit; sleep 0.05; done; exit 1`

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
try {
  await sandbox.fs.uploadFile(Buffer.from('<h1>Hello from a sandbox</h1>'), 'site/index.html')
  await sandbox.process.createSession('web')
  const command = `cd site && python3 -m http.server ${port}`
  await sandbox.process.executeSessionCommand('web', { command, runAsync: true })
  await sandbox.process.executeCommand(ready)

  const signed = await sandbox.getSignedPreviewUrl(port, 600)
  console.log('for whoever has it, for ten minutes:', signed.url)
  const { url, token } = await sandbox.getPreviewLink(port)
  const page = await fetch(url, { headers: { 'X-Daytona-Preview-Token': token } })
  console.log(page.status, await page.text())
} finally {
  await sandbox.delete()
}
