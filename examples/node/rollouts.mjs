// Run it: node examples/node/rollouts.mjs
// Trains a policy by trial and error: rollouts run in a pool of sandboxes, side by side.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const [workers, rollouts, rounds] = [4, 16, 5]

// A cart is pushed towards 10. What an untrusted or crashing environment does stays in its sandbox.
const environment = `
import json, sys

gain, damping = json.loads(sys.argv[1])
position, speed, cost = 0.0, 0.0, 0.0
for _ in range(50):
    speed += 0.1 * (gain * (10 - position) - damping * speed)
    position += 0.1 * speed
    cost += abs(10 - position)
print(-cost)
`

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()

/** Tries policies in the sandboxes, each in the next one that is free, and gives their rewards. */
async function rollOut(pool, policies) {
  const rewards = []
  let next = 0
  const worker = async (sandbox) => {
    while (next < policies.length) {
      const number = next++
      const command = `python3 environment.py '${JSON.stringify(policies[number])}'`
      const { exitCode, result } = await sandbox.process.executeCommand(command, undefined, undefined, 30)
      rewards[number] = exitCode === 0 ? Number(result) : -Infinity
    }
  }
  await Promise.all(pool.map(worker))
  return rewards
}

const gauss = (mean, spread) =>
  mean + spread * Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())

const params = { ephemeral: true, labels: { example: 'rollouts' } }
const pool = await Promise.all(Array.from({ length: workers }, () => daytona.create(params)))
try {
  await Promise.all(pool.map((sandbox) => sandbox.fs.uploadFile(Buffer.from(environment), 'environment.py')))
  let means = [1, 1]
  let spread = 2
  let best = []
  for (let round = 0; round < rounds; round++) {
    const policies = Array.from({ length: rollouts }, () => means.map((mean) => gauss(mean, spread)))
    const rewards = await rollOut(pool, policies)
    // The best quarter of all so far is where others are tried next.
    best = [...best, ...policies.map((policy, number) => ({ policy, reward: rewards[number] }))]
      .sort((one, other) => other.reward - one.reward)
      .slice(0, rollouts / 4)
    means = means.map((_, index) => best.reduce((sum, { policy }) => sum + policy[index], 0) / best.length)
    spread *= 0.7
    console.log(`round ${round}: best reward ${best[0].reward.toFixed(1)}`)
  }
} finally {
  await Promise.all(pool.map((sandbox) => sandbox.delete()))
}
