// Run it: node examples/node/git_workflow.mjs
// Clones a repository, commits a change on a branch, and pushes it.
// With DAYTONA_API_KEY set it runs on Daytona, else on a local server that it starts itself.
import { Daytona } from 'daytona-native'

// Stands in for a repository of yours, so that this needs no account: `url` may be any that git knows.
const origin = `set -e
git init -q --bare --initial-branch=main origin.git
git clone -q origin.git seed 2>/dev/null && cd seed && git checkout -q -B main && echo '# Project' > README.md
git add . && git -c user.name=Seed -c user.email=seed@example.com commit -q -m first && git push -q origin main`

const daytona = process.env.DAYTONA_API_KEY ? new Daytona() : Daytona.local()
const sandbox = await daytona.create()
const { git } = sandbox
try {
  await sandbox.process.executeCommand(origin)
  const url = `${await sandbox.getWorkDir()}/origin.git`
  await git.clone(url, 'project')
  await git.createBranch('project', 'feature')
  await git.checkoutBranch('project', 'feature')
  await sandbox.fs.uploadFile(Buffer.from("print('hello')\n"), 'project/hello.py')
  const { currentBranch, fileStatus } = await git.status('project')
  console.log('on', currentBranch, 'with', fileStatus.map((file) => file.name))
  await git.add('project', ['hello.py'])
  const { sha } = await git.commit('project', 'Say hello', 'Me', 'me@example.com')
  await git.push('project', undefined, undefined, undefined, undefined, true)
  const { result } = await sandbox.process.executeCommand('git rev-parse feature', 'origin.git')
  console.log('pushed', sha === result.trim())
  console.log('branches:', (await git.branches('project')).branches)
} finally {
  await sandbox.delete()
}
