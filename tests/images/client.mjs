// Builds an image with a Node client, and says what came of it: `client.mjs PACKAGE URL KEY IMAGE FOLDER NAME`.
//
// PACKAGE is the folder of the client. The answer is one JSON object on the standard output: what the sandboxes have,
// and the logs that the client was told.
import { createRequire } from 'node:module'
import path from 'node:path'

const [home, apiUrl, apiKey, base, folder, name] = process.argv.slice(2)
const { Daytona, Image } = createRequire(path.join(home, 'from-here.js'))(home)

const SEEN = `pwd; cat /built; python -c 'import os, six; print(six.__name__, os.environ["WORD"])'; cat main.txt sub/other.txt; stat -c %a run.sh`

const daytona = new Daytona({ apiUrl, apiKey })
const image = Image.base(base)
  .env({ PIP_BREAK_SYSTEM_PACKAGES: '1', WORD: 'two words' })
  .runCommands('echo built > /built', 'test -f /built')
  .pipInstall(['six'])
  .workdir('/app')
  .addLocalDir(folder, '/app')
const plain = await daytona.create({ image: base }, { timeout: 200 })
const logs = []
let begun = performance.now()
const built = await daytona.create({ image }, { timeout: 200, onSnapshotCreateLogs: (text) => logs.push(text) })
const taken = performance.now() - begun
const snapshotLogs = []
const snapshot = await daytona.snapshot.create({ name, image }, { onLogs: (text) => snapshotLogs.push(text) })
begun = performance.now()
const ofSnapshot = await daytona.create({ snapshot: name })
const ofSnapshotTaken = performance.now() - begun
begun = performance.now()
const view = await daytona.create()
const hostTaken = performance.now() - begun
const run = async (sandbox, command) => (await sandbox.process.executeCommand(command)).result
const answer = {
  plain: await run(plain, 'cut -d. -f1 /etc/debian_version'),
  built: await run(built, SEEN),
  snapshot: await run(ofSnapshot, SEEN),
  state: snapshot.state,
  logs: logs.join('\n'),
  snapshotLogs: snapshotLogs.join('\n'),
  seconds: { image: taken / 1000, snapshot: ofSnapshotTaken / 1000, host: hostTaken / 1000 },
}
for (const sandbox of [plain, built, ofSnapshot, view]) await sandbox.delete()
process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit())
