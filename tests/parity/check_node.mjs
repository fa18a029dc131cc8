#!/usr/bin/env node
// How much of the official Node surface a package has.
//
// The surface is node.json: every export with its members and enum values. An item holds when both `import` and
// `require` have it and the declarations have it, callable with the official number of arguments; more than the
// official surface is fine. holds-node.txt names the items that have to hold: it may only grow.
//
// usage: node check_node.mjs [PACKAGE_DIR] [--list] [--ratchet | --update]
//
// --list prints every item that does not hold, and why. --ratchet fails if one of holds-node.txt does not hold.
// --update adds what holds now. The declarations are checked with the tsc beside the package or this file.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const flags = new Set(process.argv.slice(2).filter((one) => one.startsWith('--')))
const given = process.argv.slice(2).find((one) => !one.startsWith('--'))
const dir = path.resolve(given ?? path.join(here, '../../bindings-node'))
const manifest = JSON.parse(fs.readFileSync(path.join(here, 'node.json'), 'utf8'))
const wanted = { ...manifest.exports, ...manifest.services }
const holdsFile = path.join(here, 'holds-node.txt')

/** Members that are looked at, each an item of its own. */
const membersOf = (want) => Object.entries(want.members ?? {}).filter(([name]) => name !== 'constructor' && !/^[[_]/.test(name))

/** Item to what is wrong with it. */
const problems = new Map()
for (const [name, want] of Object.entries(wanted)) {
  problems.set(name, undefined)
  for (const [member] of membersOf(want)) problems.set(`${name}.${member}`, undefined)
}
const wrong = (item, why) => { if (problems.get(item) === undefined) problems.set(item, why) }
const missing = (name, why) => {
  wrong(name, why)
  for (const [member] of membersOf(wanted[name])) wrong(`${name}.${member}`, `${name} ${why}`)
}

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'parity-'))
try {
  const { name } = JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'))
  const link = path.join(work, 'node_modules', name)
  fs.mkdirSync(path.dirname(link), { recursive: true })
  fs.symlinkSync(dir, link, 'dir')
  await atRunTime(name)
  inDeclarations(name)
} finally {
  fs.rmSync(work, { recursive: true, force: true })
}
process.exitCode = report()

async function atRunTime(name) {
  const entry = path.join(work, 'load.mjs')
  fs.writeFileSync(entry, `export * from ${JSON.stringify(name)}\n`)
  const loaded = { import: await import(pathToFileURL(entry).href), require: createRequire(entry)(name) }
  for (const [how, module] of Object.entries(loaded)) {
    for (const [item, want] of Object.entries(wanted)) {
      if (want.kind === 'interface' || want.kind === 'type') continue
      const got = module[item]
      if (got === undefined) {
        missing(item, `is not exported (${how})`)
        continue
      }
      for (const [member, spec] of membersOf(want)) {
        if (want.kind === 'enum' && got[member] !== spec) wrong(`${item}.${member}`, `is ${got[member]}, not ${spec} (${how})`)
        if (want.kind !== 'class' || spec.kind !== 'method') continue
        const method = spec.static ? got[member] : got.prototype?.[member]
        if (typeof method !== 'function') wrong(`${item}.${member}`, `is no method (${how})`)
      }
    }
  }
}

/** Type-checks a file that has one line for each thing to know. */
function inDeclarations(name) {
  const lines = [`import * as p from ${JSON.stringify(name)}`, 'type Keys<T> = T extends unknown ? keyof T : never']
  const about = new Map()
  const line = (item, why, text) => {
    about.set(lines.push(text), { item, why })
  }
  for (const [item, want] of Object.entries(wanted)) {
    const id = item.replace(/\W/g, '_')
    if (want.kind === 'const' || want.kind === 'function') {
      line(item, 'is not declared', `void p.${item}`)
      continue
    }
    line(item, 'is not declared as a type', `export type T_${id} = p.${item}`)
    if (want.kind === 'enum') continue
    for (const [member, spec] of membersOf(want)) {
      const key = JSON.stringify(member)
      const holder = spec.static ? `typeof p.${item}` : `p.${item}`
      const at = `${id}_${member.replace(/\W/g, '_')}`
      line(`${item}.${member}`, 'is not declared', `export const M_${at}: ${key} extends Keys<NonNullable<${holder}>> ? true : false = true`)
      if (spec.kind !== 'method' || !spec.params) continue
      const args = spec.params.map((one) => (one.startsWith('...') ? '...(null as any)' : 'null as any')).join(', ')
      line(`${item}.${member}`, `cannot be called with (${spec.params.join(', ')})`, `export const A_${at} = (x: ${holder}) => x[${key}](${args})`)
    }
  }
  fs.writeFileSync(path.join(work, 'check.ts'), lines.join('\n') + '\n')
  const options = { target: 'es2022', module: 'nodenext', moduleResolution: 'nodenext', strict: true, noEmit: true, skipLibCheck: true, types: ['node'], typeRoots: [path.join(path.dirname(findUp('node_modules/typescript/package.json')), '../@types')] }
  fs.writeFileSync(path.join(work, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['check.ts'] }))
  const { stdout, stderr, status } = spawnSync(findUp('node_modules/.bin/tsc'), ['-p', work, '--pretty', 'false'], { encoding: 'utf8' })
  const failed = [...stdout.matchAll(/check\.ts\((\d+),\d+\): error/g)].map((found) => about.get(Number(found[1])))
  if (status !== 0 && !failed.some(Boolean)) throw new Error(`tsc failed: ${stdout}${stderr}`)
  for (const one of failed.filter(Boolean)) {
    if (one.item in wanted) missing(one.item, one.why)
    else wrong(one.item, one.why)
  }
}

function findUp(wantedPath) {
  for (const start of [dir, here]) {
    for (let at = start; ; at = path.dirname(at)) {
      if (fs.existsSync(path.join(at, wantedPath))) return path.join(at, wantedPath)
      if (at === path.dirname(at)) break
    }
  }
  throw new Error(`${wantedPath} is nowhere above ${dir}: run npm ci`)
}

function report() {
  const holds = [...problems].filter(([, why]) => why === undefined).map(([item]) => item)
  if (flags.has('--list')) for (const [item, why] of problems) if (why) console.log(`${item}: ${why}`)
  const percent = Math.floor((holds.length * 100) / problems.size)
  console.log(`node parity with ${manifest.package} ${manifest.version}: ${holds.length} of ${problems.size} items hold (${percent} %)`)
  const committed = fs.existsSync(holdsFile) ? fs.readFileSync(holdsFile, 'utf8').split('\n').filter(Boolean) : []
  if (flags.has('--update')) {
    fs.writeFileSync(holdsFile, [...new Set([...committed, ...holds])].sort().join('\n') + '\n')
    return 0
  }
  if (!flags.has('--ratchet')) return 0
  const lost = committed.filter((item) => !holds.includes(item))
  for (const item of lost) console.log(`does not hold any more: ${item}: ${problems.get(item) ?? 'no such item'}`)
  const more = holds.filter((item) => !committed.includes(item)).length
  if (more) console.log(`${more} more hold than holds-node.txt says: add them with --update`)
  return lost.length ? 1 : 0
}
