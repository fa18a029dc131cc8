// Runs programs beside the published form of this package, where host programs of the integrations are installed.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../..')
const installed = join(root, 'target/integrations')

/** A Node that Flue runs on: this one, or the one that is installed for that. */
function node() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 22 || (major === 22 && minor >= 19)) return process.execPath
  const binary = join(installed, `node_modules/node-${process.platform}-${process.arch}/bin/node`)
  assert.ok(existsSync(binary), 'this needs Node 22.19 or newer')
  return binary
}

/** Puts what npm would publish where programs of one integration find it. */
export async function install(integration) {
  const modules = join(installed, 'node_modules')
  assert.ok(existsSync(modules), 'the host programs are not installed: run make target/integrations/.ready')
  const folder = join(installed, integration)
  const target = join(folder, 'node_modules/daytona-native')
  const source = join(root, 'bindings-node')
  const { files } = JSON.parse(await readFile(join(source, 'package.json'), 'utf8'))
  await rm(folder, { recursive: true, force: true })
  await mkdir(target, { recursive: true })
  // Host programs leave files where temporary ones are.
  const temporary = join(folder, 'tmp')
  await mkdir(temporary)
  for (const file of ['package.json', ...files]) await cp(join(source, file), join(target, file), { recursive: true })

  const bring = async (name) => {
    const program = join(folder, basename(name))
    await cp(join(here, name), program)
    return program
  }
  return {
    folder,

    /** Runs a file, whose path starts from this one, and gives its exit code and all it wrote. */
    async run(name, { env = {}, args = [] } = {}) {
      const { NODE_TEST_CONTEXT, ...inherited } = process.env
      const child = spawn(node(), [...args, await bring(name)], {
        cwd: folder,
        env: { ...inherited, TMPDIR: temporary, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => (output += piece))
      const [code] = await once(child, 'close')
      return { code, output }
    },

    /** Puts a file there that a guide of the package tells to write. */
    async extract(guide, marker, name) {
      const text = await readFile(join(target, guide), 'utf8')
      const begin = text.indexOf(marker)
      assert.ok(begin > 0, guide)
      await writeFile(join(folder, name), text.slice(begin, text.indexOf('```', begin)))
    },

    /** Compares declarations with those of the host program. */
    async checkTypes(name, ...others) {
      const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
      const strict = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', '--noEmit', '--ignoreConfig']
      const modules = ['--module', 'nodenext', '--target', 'es2022', '--lib', 'es2023,esnext.disposable,dom']
      const program = await bring(name)
      const { status, stdout } = spawnSync(process.execPath, [tsc, ...strict, ...modules, program, ...others], {
        cwd: folder,
        encoding: 'utf8',
      })
      assert.equal(status, 0, stdout)
    },
  }
}
