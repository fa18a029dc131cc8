// Run it: node examples/node/declarative_image.mjs
// Says in JavaScript what an image is to have, and makes a sandbox and a snapshot of it.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself, which pulls the base image
// from its registry. Without a registry in reach, DAYTONA_NATIVE_IMAGE_FALLBACK=host in the environment lets this
// machine's own programs stand in for the base image.
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Daytona, DaytonaBuildFailedError, Image } from 'daytona-native'

const folder = await mkdtemp(join(tmpdir(), 'project-'))
const files = {
  'main.sh': 'echo "$GREETING from $(pwd) with $(wc -w <words.txt | tr -d " ") words"\n',
  'words.txt': 'all of these are words\n',
  'notes.log': 'not for the image\n',
  '.dockerignore': '*.log\n',
}
for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)

const image = Image.base('python:3.12-slim-bookworm')
  .addLocalDir(folder, '/app')
  .runCommands('cd /app && chmod 755 main.sh && ls')
  .env({ GREETING: 'hello' })
  .workdir('/app')
console.log(image.dockerfile.replaceAll(folder, 'FOLDER'))

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const name = `words-${randomUUID().slice(0, 8)}`
try {
  // The log of the build, as it comes.
  const sandbox = await daytona.create({ image }, { timeout: 600, onSnapshotCreateLogs: console.log })
  process.stdout.write((await sandbox.process.executeCommand('./main.sh')).result)
  await sandbox.delete()

  // Under a name it is kept; what has been built and uploaded is not built and uploaded again.
  const snapshot = await daytona.snapshot.create({ name, image })
  try {
    const second = await daytona.create({ snapshot: name })
    process.stdout.write('from the snapshot: ' + (await second.process.executeCommand('./main.sh')).result)
    await second.delete()
  } finally {
    await daytona.snapshot.delete(snapshot)
  }
} catch (error) {
  if (!(error instanceof DaytonaBuildFailedError)) throw error
  console.error(`${error.message}\n\nTo go without the base image, set DAYTONA_NATIVE_IMAGE_FALLBACK=host`)
  process.exitCode = 1
} finally {
  await rm(folder, { recursive: true })
}
