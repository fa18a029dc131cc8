import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import * as esm from 'daytona-native'
import { run } from './support.mjs'

const require = createRequire(import.meta.url)
const cjs = require('daytona-native')
const folder = dirname(require.resolve('daytona-native/package.json'))

test('import and require give the same classes', () => {
  assert.deepEqual(Object.keys(esm).sort(), Object.keys(cjs).sort())
  for (const [name, value] of Object.entries(cjs)) assert.equal(esm[name], value, name)
})

test('what is declared is exported, and the other way round', async () => {
  const declared = []
  for (const file of await readdir(join(folder, 'lib'))) {
    if (!file.endsWith('.d.ts')) continue
    const text = await readFile(join(folder, 'lib', file), 'utf8')
    for (const match of text.matchAll(/^export declare (?:class|enum|const) (\w+)/gm)) declared.push(match[1])
  }
  assert.deepEqual(declared.sort(), Object.keys(cjs).sort())
})

test('every declared method is there', async () => {
  for (const [file, name] of [
    ['daytona', 'Daytona'],
    ['sandbox', 'Sandbox'],
    ['process', 'Process'],
    ['files', 'FileSystem'],
    ['session', 'LogStream'],
    ['exec_stream', 'ExecStream'],
    ['pty', 'PtyHandle'],
    ['interpreter', 'CodeInterpreter'],
  ]) {
    const text = await readFile(join(folder, 'lib', `${file}.d.ts`), 'utf8')
    const body = text.slice(text.indexOf(`export declare class ${name} `))
    const methods = [...body.matchAll(/^ {2}(?:static )?(\w+)\(/gm)].map((match) => match[1])
    assert.ok(methods.length > 0)
    for (const method of methods) {
      assert.equal(typeof (cjs[name].prototype[method] ?? cjs[name][method]), 'function', `${name}.${method}`)
    }
  }
})

test('the package has no dependencies', async () => {
  const { dependencies, peerDependencies, optionalDependencies } = require('daytona-native/package.json')
  assert.deepEqual({ ...dependencies, ...peerDependencies, ...optionalDependencies }, {})
})

test('a program that only loads the package ends by itself, however it loads it', async () => {
  const imported = await run("import { Daytona } from 'daytona-native'; console.log(typeof Daytona)")
  assert.deepEqual([imported.code, imported.stdout], [0, 'function\n'], imported.stderr)
  const required = await run("console.log(typeof require('daytona-native').Daytona)", { input: 'commonjs' })
  assert.deepEqual([required.code, required.stdout], [0, 'function\n'], required.stderr)
})

test('the declarations hold for ES modules and for CommonJS', () => {
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  const project = fileURLToPath(new URL('./types', import.meta.url))
  const { status, stdout } = spawnSync(process.execPath, [tsc, '--project', project], { encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})
