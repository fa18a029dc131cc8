// Run it: node examples/node/data_analysis_agent.mjs
// An agent answers a question about data: it writes code, reads what comes of it, and goes on.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

const data = `month,region,sales
1,north,120
1,south,80
2,north,150
2,south,95
3,north,170
3,south,140
`

/** Stands in for a language model: it is sent each result and gives the next code, or its answer at last. */
function* scriptedModel(question) {
  console.log('question:', question)
  let seen = yield "import csv\nrows = list(csv.DictReader(open('sales.csv')))\nprint(list(rows[0]))"
  seen = yield seen.includes('sales') ? "print(sum(int(row['revenue']) for row in rows))" : 'print(rows)'
  // A wrong guess: the error says so.
  if (seen.includes('KeyError')) {
    seen = yield `growth = {}
for row in rows:
    growth.setdefault(row['region'], []).append(int(row['sales']))
print({region: round(100 * (s[-1] / s[0] - 1)) for region, s in growth.items()})`
  }
  return `growth in percent: ${seen.trim()}`
}

/** What a model is shown of a run. */
const observation = ({ error, stdout }) => (error ? `${error.name}: ${error.value}` : stdout)

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
try {
  await sandbox.fs.uploadFile(Buffer.from(data), 'sales.csv')
  const model = scriptedModel('Which region grew faster?')
  let step = model.next()
  while (!step.done) {
    const seen = observation(await sandbox.codeInterpreter.runCode(step.value, { timeout: 60 }))
    console.log('saw:', seen.trim())
    step = model.next(seen)
  }
  console.log('ANSWER:', step.value)
} finally {
  await sandbox.delete()
}
