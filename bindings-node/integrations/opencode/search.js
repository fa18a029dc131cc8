'use strict'

const { posix } = require('node:path')
const { expandBraces, matcher } = require('./glob')
const { expect, quote, run } = require('./run')
const { list, number, optional, text } = require('./schema')

const FOUND = 100
const LINE_LENGTH = 2000
/** What nobody looks for. */
const PRUNED = ['.git', 'node_modules', '__pycache__', '.venv', 'target', 'dist', 'build', '.cache']
const LANGUAGES = new Map([
  ['.py', 'python'],
  ['.ts', 'typescript'],
  ['.tsx', 'typescript'],
  ['.mts', 'typescript'],
  ['.cts', 'typescript'],
  ['.js', 'javascript'],
  ['.jsx', 'javascript'],
  ['.mjs', 'javascript'],
  ['.cjs', 'javascript'],
])
const SYMBOLS = ['', 'file', 'module', 'namespace', 'package', 'class', 'method', 'property', 'field', 'constructor', 'enum']
SYMBOLS.push('interface', 'function', 'variable', 'constant')

const folder = optional(text('Folder; the project by default'))

/** The files beneath a folder, by name, and relative to it. */
async function files({ sandbox }, path, signal, pruned = PRUNED) {
  const names = pruned.map((name) => `-name ${quote(name)}`).join(' -o ')
  const command = `find . -mindepth 1 \\( ${names} \\) -prune -o \\( -type f -o -type l \\) -print`
  // Not through what a model is shown of a command: that leaves the middle of a long output out.
  const { exitCode, result } = await sandbox.process.executeCommand(command, path, undefined, 60, { signal })
  const found = result.split('\n').filter((line) => line.startsWith('./'))
  if (exitCode !== 0 && found.length === 0) throw new Error(result.trim() || `${path} cannot be listed`)
  return found.map((name) => name.slice(2)).sort()
}

function shorten(lines, what) {
  if (lines.length <= FOUND) return lines.join('\n') || `(no ${what})`
  return [...lines.slice(0, FOUND), `(${lines.length - FOUND} more; be more specific)`].join('\n')
}

/** ripgrep where it is, else grep: both give `path:line:text`, and end with 1 if there is nothing. */
function grepCommand(pattern, path, include) {
  const excluded = PRUNED.map((name) => `--exclude-dir=${quote(name)}`)
  const included = (include ? expandBraces(include) : []).map((one) => `--include=${quote(posix.basename(one))}`)
  const what = ['-e', quote(pattern), '--', quote(path)]
  const rg = ['rg -nH --no-heading --color=never --sort=path', include ? `-g ${quote(include)}` : '', ...what]
  const grep = ['grep -rnHIE', ...excluded, ...included, ...what]
  return `if command -v rg >/dev/null; then ${rg.join(' ')}; else ${grep.join(' ')}; fi`
}

async function grep({ sandbox }, pattern, path, include, signal) {
  const { stdout, stderr, exitCode } = await run(sandbox, grepCommand(pattern, path, include), { timeoutMs: 60_000, signal })
  if (exitCode !== 0 && exitCode !== 1 && stdout === '') throw new Error(stderr.trim() || 'the search took more than a minute')
  return stdout.split('\n').filter(Boolean)
}

function searchTools() {
  return {
    ls: {
      description: 'Lists the files beneath a folder of the sandbox.',
      args: { path: folder, ignore: optional(list(text(), 'Globs of what to leave out')) },
      async execute({ path, ignore }, workspace, { abort }) {
        const base = workspace.path(path)
        const ignored = (ignore ?? []).map(matcher)
        const found = (await files(workspace, base, abort)).filter((name) => !ignored.some((matches) => matches(name)))
        return { title: base, output: `${base}/\n${shorten(found, 'files')}`, metadata: { count: found.length } }
      },
    },

    glob: {
      description: 'Finds files of the sandbox by a glob such as src/**/*.{ts,tsx}.',
      args: { pattern: text('The glob'), path: folder },
      async execute({ pattern, path }, workspace, { abort }) {
        const base = workspace.path(path)
        const found = (await files(workspace, base, abort)).filter(matcher(pattern)).map((name) => posix.join(base, name))
        return { title: pattern, output: shorten(found, 'files'), metadata: { count: found.length } }
      },
    },

    grep: {
      description: 'Finds lines in files of the sandbox by a regular expression.',
      args: { pattern: text('The regular expression'), path: folder, include: optional(text('Glob of the files to look in')) },
      async execute({ pattern, path, include }, workspace, { abort }) {
        const lines = await grep(workspace, pattern, workspace.path(path), include, abort)
        const cut = lines.map((line) => (line.length > LINE_LENGTH ? `${line.slice(0, LINE_LENGTH)}...` : line))
        return { title: pattern, output: shorten(cut, 'matches'), metadata: { matches: lines.length } }
      },
    },

    lsp: {
      description:
        'Asks a language server in the sandbox. The operation is documentSymbols (what filePath defines), workspaceSymbols ' +
        '(what the project defines, by query), or completions (what may come at line and character of filePath).',
      args: {
        operation: text('documentSymbols, workspaceSymbols or completions'),
        filePath: text('A file of the project: Python, TypeScript or JavaScript'),
        line: optional(number('From 1')),
        character: optional(number('From 1')),
        query: optional(text('A part of the name')),
      },
      async execute({ operation, filePath, line, character, query }, workspace, { abort }) {
        const path = workspace.path(filePath)
        const server = await languageServer(workspace, path, abort)
        const options = { signal: abort }
        const asked = {
          documentSymbols: async () => (await server.documentSymbols(path, options)).map(toLine),
          workspaceSymbols: async () => (await server.sandboxSymbols(query ?? '', options)).map(toLine),
          completions: async () => {
            const position = { line: (line ?? 1) - 1, character: (character ?? 1) - 1 }
            const { items } = await server.completions(path, position, options)
            return items.map(({ label, detail }) => (detail ? `${label}  ${detail}` : label))
          },
        }
        if (!Object.hasOwn(asked, operation)) {
          throw new Error(`the operation is one of ${Object.keys(asked).join(', ')}, not ${operation}`)
        }
        const lines = await asked[operation]()
        return { title: operation, output: shorten(lines, 'results'), metadata: { count: lines.length } }
      },
    },
  }
}

/** The language server for a file, which knows what the file holds now. */
async function languageServer(workspace, path, signal) {
  const language = LANGUAGES.get(posix.extname(path))
  if (!language) throw new Error(`there is no language server for ${posix.basename(path)}: it takes Python, TypeScript, JavaScript`)
  let starting = workspace.languageServers.get(language)
  if (!starting) {
    starting = workspace.sandbox.createLspServer(language, workspace.project)
    workspace.languageServers.set(language, starting)
  }
  const server = await starting
  // Fine if it runs; after a stop of the sandbox it does not.
  await server.start({ signal })
  await server.didOpen(path, { signal })
  return server
}

function toLine({ kind, name, location }) {
  const { line, character } = location.range.start
  const path = decodeURIComponent(location.uri.replace('file://', ''))
  return `${SYMBOLS[kind] ?? 'symbol'} ${name}  ${path}:${line + 1}:${character + 1}`
}

module.exports = { searchTools }
