// Run it: npm install --prefix examples/flue && npm start --prefix examples/flue
// A coding agent: one clones a repository and installs what it needs, one mends it in its folder.
// With ANTHROPIC_API_KEY set a model does the work, else a script stands in for one. With DAYTONA_API_KEY set it runs on
// Daytona, else on a local server that it starts itself.
import { fauxAssistantMessage, fauxProvider, fauxText, fauxToolCall } from '@earendil-works/pi-ai'
import { init, useModel, useSandbox } from '@flue/runtime'
import { start } from '@flue/runtime/node'
import { Daytona } from 'daytona-native'
import { daytona } from 'daytona-native/flue'

// Stands in for a repository of yours.
const origin = `set -e
git init -q seed && cd seed
echo '{ "name": "sum", "version": "1.0.0", "type": "module", "scripts": { "test": "node --test" } }' > package.json
echo 'export const sum = (a, b) => a - b' > sum.js
echo "import { sum } from './sum.js'; import test from 'node:test'; import assert from 'node:assert/strict'
test('2 and 3 are 5', () => assert.equal(sum(2, 3), 5))" > sum.test.js
git add . && git -c user.name=Seed -c user.email=seed@example.com commit -q -m first`

const scripted = !process.env.ANTHROPIC_API_KEY
const model = scripted ? 'scripted/model' : 'anthropic/claude-sonnet-4-6'
const faux = fauxProvider({ provider: 'scripted', models: [{ id: 'model' }] })

/** Has the script call these tools, one after the other, and then say what the last one gave. */
function script(...calls) {
  const step = ({ messages }) => {
    const results = messages.filter(({ role }) => role === 'toolResult').map(({ content }) => content[0]?.text ?? '')
    const call = calls[results.length]
    if (call) console.log(`  ${call[0]}: ${Object.values(call[1])[0]}`)
    const content = call ? fauxToolCall(...call) : fauxText(results.at(-1).trim())
    return fauxAssistantMessage([content], { stopReason: call ? 'toolUse' : 'stop' })
  }
  faux.setResponses([...calls, undefined].map(() => step))
}

const client = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await client.create()

function Setup() {
  useModel(model)
  useSandbox(daytona(sandbox))
  return 'Clone the repository that the user names into the folder project, and install what it needs.'
}

function Coder() {
  useModel(model)
  useSandbox(daytona(sandbox), { cwd: 'project' })
  return 'You work in a repository. Run its tests, mend what fails, and tell the result of the tests.'
}

try {
  const seeded = await sandbox.process.executeCommand(origin)
  if (seeded.exitCode !== 0) throw new Error(seeded.result)
  const flue = await start({ agents: [Setup, Coder], ...(scripted && { providers: [faux.provider] }) })
  try {
    const ask = async (agent, message) => {
      console.log(`${agent.name}: ${message}`)
      const handle = init(agent)
      console.log((await handle.read(await handle.dispatch(message))).text)
    }

    script(
      ['bash', { command: 'git clone -q ~/seed project' }],
      ['bash', { command: 'cd project && npm install --no-audit --no-fund --no-update-notifier' }],
    )
    await ask(Setup, 'The repository is ~/seed.')

    script(
      ['bash', { command: 'npm test 2>&1 | grep -E "^# (pass|fail)"' }],
      ['read', { path: 'sum.js' }],
      ['edit', { path: 'sum.js', oldText: 'a - b', newText: 'a + b' }],
      ['bash', { command: 'npm test 2>&1 | grep -E "^# (pass|fail)"' }],
    )
    await ask(Coder, 'A test fails.')
  } finally {
    await flue.stop()
  }
  const { result } = await sandbox.process.executeCommand('git diff --stat', 'project')
  console.log(result.trim())
} finally {
  await sandbox.delete()
}
