// The behaviour cases of tests/cases, with this package.
import { after, before, test } from 'node:test'
import * as daytona from '../../bindings-node/index.mjs'
import { Session, load, startServer } from '../cases/runner.mjs'

let server
let session
before(async () => {
  server = await startServer()
  session = new Session(daytona, server)
})
after(async () => {
  try {
    await session?.close()
  } finally {
    // A server that stays keeps the runner waiting.
    await server?.close()
  }
})

for (const one of load()) {
  test(one.id, (t) => (session.applies(one) ? session.run(one) : t.skip('for machines with other limits')))
}
