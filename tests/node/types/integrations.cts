// Checked, not run: the integrations as CommonJS modules load them.
import flue = require('daytona-native/flue')
import native = require('daytona-native')

async function main(sandbox: native.Sandbox): Promise<string> {
  const environment: flue.FlueSandbox = await flue.daytona(sandbox).createSessionEnv({ id: 'i' })
  return environment.cwd
}

void main
