// What `npm install` puts there, as users get it.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { serverBinary } from './support.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const folder = join(root, 'target/tests/npm')

function run(cwd, program, ...words) {
  const { status, stdout, stderr } = spawnSync(program, words, { cwd, encoding: 'utf8' })
  assert.equal(status, 0, `${program} ${words.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

test('the program and the package are there after npm install', { timeout: 120_000 }, async () => {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  run(join(root, 'bindings-node'), 'npm', 'pack', '--silent', '--pack-destination', folder)
  const [archive] = await readdir(folder)
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'user', private: true }))
  run(folder, 'npm', 'install', '--offline', '--no-audit', '--no-fund', '--silent', `./${archive}`)
  const version = run(root, serverBinary(), '--version')
  assert.equal(run(folder, 'npx', '--no-install', 'daytona-native', '--version'), version)
  const program = "import { Daytona } from 'daytona-native'; console.log(typeof Daytona)"
  assert.equal(run(folder, process.execPath, '--input-type=module', '-e', program), 'function\n')
})
