// The official Node client, unmodified, against the local server: it runs the behaviour cases.
//
// deviations.json lists where it does otherwise than the cases say, and why. What is listed there without changed steps
// has to fail: an entry that is no longer true fails the test. The client is looked for in OFFICIAL_NODE_MODULES, by
// default target/official.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Session, load, startServer } from '../cases/runner.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const home = process.env.OFFICIAL_NODE_MODULES || path.join(here, '../../target/official/node_modules')
const find = createRequire(path.join(path.resolve(home), 'from-here.js'))
const deviations = JSON.parse(fs.readFileSync(path.join(here, 'deviations.json'), 'utf8')).node
const cases = load({ official: true })

/**
 * What errors of the official client look like: no request id, and fewer checks before it sends. The refusal has to be
 * of the same class whoever refuses.
 */
function asOfficial(steps) {
  const change = ({ request_id: _, ...error }) => (error.status?.$absent ? { class: error.class } : error)
  return Object.fromEntries(steps.flatMap((step, i) => (step.error ? [[i, { error: change(step.error) }]] : [])))
}

let server
let session
before(async () => {
  server = await startServer()
  // An event that comes after the answer to a later question wins for a moment.
  session = new Session(find('@daytona/sdk'), server, { late: 5 })
})
after(async () => {
  try {
    await session?.close()
  } finally {
    // A server that stays keeps the runner waiting.
    await server?.close()
  }
})

test('the client is the published one', () => {
  const manifest = path.join(home, '@daytona/sdk/package.json')
  assert.equal(JSON.parse(fs.readFileSync(manifest, 'utf8')).version, '0.216.0')
})

test('every deviation names a case', () => {
  const known = new Set(cases.map((one) => one.id))
  assert.deepEqual(Object.keys(deviations).filter((id) => !known.has(id)), [])
})

for (const one of cases) {
  const deviation = deviations[one.id]
  test(one.id, { skip: deviation?.skip && deviation.why }, async (t) => {
    if (!session.applies(one)) {
      t.skip('for machines with other limits')
      return
    }
    const changed = asOfficial(one.case.steps)
    if (deviation && !deviation.steps) {
      await assert.rejects(session.run(one, changed), { name: 'AssertionError' }, `no deviation any more: ${deviation.why}`)
      return
    }
    await session.run(one, { ...changed, ...deviation?.steps })
  })
}
