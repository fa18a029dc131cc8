// Run it: node examples/node/chart.mjs
// Draws a chart in a sandbox and saves it as chart.png.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { writeFile } from 'node:fs/promises'
import { Daytona } from 'daytona-native'

const code = `
import matplotlib.pyplot as plt

plt.plot([1, 2, 3, 4], [1, 4, 9, 16], label="squares")
plt.title("Squares")
plt.legend()
plt.show()
`

const target = process.argv[2] ?? 'chart.png'
const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create({ envVars: { PYTHONPATH: '/tmp/packages' } })
try {
  const install = 'python3 -m pip install --quiet --disable-pip-version-check --target /tmp/packages matplotlib'
  const command = `python3 -c 'import matplotlib' 2>/dev/null || ${install}`
  const installed = await sandbox.process.executeCommand(command, undefined, undefined, 300)
  if (installed.exitCode !== 0) throw new Error(installed.result)
  const { artifacts } = await sandbox.process.codeRun(code)
  for (const { type, title, elements, png } of artifacts?.charts ?? []) {
    console.log(`a ${type} chart, ${title}, with`, elements.map((line) => line.label))
    if (png) {
      await writeFile(target, Buffer.from(png, 'base64'))
      console.log('saved as', target)
    }
  }
} finally {
  await sandbox.delete()
}
