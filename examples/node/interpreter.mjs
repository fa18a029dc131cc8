// Run it: node examples/node/interpreter.mjs
// Runs Python code that keeps its state, and shows what it raises and returns.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
const { codeInterpreter } = sandbox
try {
  await codeInterpreter.runCode('prices = {"apple": 3, "pear": 4}')
  await codeInterpreter.runCode('for name, price in prices.items(): print(name, price)', {
    onStdout: ({ output }) => process.stdout.write(output),
  })

  const { results } = await codeInterpreter.runCode('sum(prices.values())', { results: true })
  console.log('result', results[0]?.text)

  const { error } = await codeInterpreter.runCode('prices["plum"]')
  console.log('raised', error.name, error.value)

  // A context has variables of its own.
  const context = await codeInterpreter.createContext('/tmp')
  const { stdout } = await codeInterpreter.runCode('import os; print("prices" in globals(), os.getcwd())', { context })
  console.log('apart', stdout.trim())
  await codeInterpreter.deleteContext(context)
} finally {
  await sandbox.delete()
}
