// Checked, not run: a CommonJS module gets the same types.
import native = require('daytona-native')

async function main(): Promise<string> {
  const daytona = new native.Daytona({ apiKey: 'key' })
  const sandbox: native.Sandbox = await daytona.create({ language: native.CodeLanguage.JAVASCRIPT })
  const state: native.SandboxState | undefined = sandbox.state
  const answer: native.ExecuteResponse = await sandbox.process.executeCommand('true')
  return state ?? answer.result
}

void main
