// Run it: node examples/node/fan_out.mjs
// Works through many tasks at once, each in a sandbox of its own, with a progress bar.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import assert from 'node:assert/strict'
import { Daytona } from 'daytona-native'

const tasks = Number(process.argv[2] ?? 100)
const atOnce = 20
const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()

/** Squares a number, the long way round. */
async function work(number) {
  const sandbox = await daytona.create({ ephemeral: true, language: 'python' })
  try {
    return Number((await sandbox.process.codeRun(`print(${number} ** 2)`)).result)
  } finally {
    await sandbox.delete()
  }
}

const begin = performance.now()
const results = []
let next = 0
let done = 0
async function worker() {
  while (next < tasks) {
    const number = next++
    results[number] = await work(number)
    done += 1
    const bar = '#'.repeat((40 * done) / tasks)
    process.stderr.write(`\r[${bar.padEnd(40)}] ${done}/${tasks}`)
  }
}
await Promise.all(Array.from({ length: atOnce }, worker))
process.stderr.write('\n')
assert.deepEqual(results, Array.from({ length: tasks }, (_, number) => number ** 2))
console.log(`${tasks} sandboxes, ${atOnce} at a time, in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
