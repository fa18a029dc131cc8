'use strict'

const { posix } = require('node:path')
const { DaytonaFileNotFoundError } = require('daytona-native')
const { applyHunks, parsePatch, replace } = require('./edit')
const { expect, quote, run } = require('./run')
const { flag, list, number, object, optional, text } = require('./schema')

const LINES = 2000
const LINE_LENGTH = 2000
/** As OpenCode has it for commands on this machine. */
const COMMAND_LIMIT_MS = 120_000
/** OpenCode stores what it is shown. */
const SHOWN_EVERY_MS = 100
const ATTACHED = new Map([
  ['.png', 'image/png'],
  ['.jpg', 'image/jpeg'],
  ['.jpeg', 'image/jpeg'],
  ['.gif', 'image/gif'],
  ['.webp', 'image/webp'],
  ['.pdf', 'application/pdf'],
])

const filePath = text('Path of the file')
const change = {
  oldString: text('The text to replace'),
  newString: text('What to put in its place'),
  replaceAll: optional(flag('Replace every place of it, instead of the only one')),
}

async function readText({ sandbox }, path) {
  return (await sandbox.fs.downloadFile(path)).toString('utf8')
}

function writeText({ sandbox }, path, content) {
  return sandbox.fs.uploadFile(Buffer.from(content), path)
}

async function exists({ sandbox }, path) {
  try {
    await sandbox.fs.getFileDetails(path)
    return true
  } catch (error) {
    if (error instanceof DaytonaFileNotFoundError) return false
    throw error
  }
}

function numbered(content, offset, limit) {
  const lines = content.split('\n')
  if (lines.at(-1) === '') lines.pop()
  const shown = lines.slice(offset, offset + limit)
  const cut = (line) => (line.length > LINE_LENGTH ? `${line.slice(0, LINE_LENGTH)}...` : line)
  const output = shown.map((line, index) => `${String(offset + index + 1).padStart(5, '0')}| ${cut(line)}`)
  const end = offset + shown.length
  if (end < lines.length) output.push(`(${lines.length - end} more lines; go on with offset ${end})`)
  return output.join('\n')
}

/** Applies all or nothing: what does not fit is found before anything is written. */
async function applyPatch(workspace, patchText) {
  const writes = []
  for (const { kind, path: name, to, lines, hunks } of parsePatch(patchText)) {
    const path = workspace.path(name)
    if (kind === 'Add') {
      if (await exists(workspace, path)) throw new Error(`${name} is there already`)
      writes.push({ path, content: lines.map((line) => `${line}\n`).join('') })
    } else if (kind === 'Delete') {
      if (!(await exists(workspace, path))) throw new Error(`${name} is not there`)
      writes.push({ path })
    } else {
      const target = to === undefined ? path : workspace.path(to)
      writes.push({ path: target, content: applyHunks(await readText(workspace, path), hunks, name) })
      if (target !== path) writes.push({ path })
    }
  }
  for (const { path, content } of writes) {
    if (content === undefined) await workspace.sandbox.fs.deleteFile(path)
    else await writeText(workspace, path, content)
  }
  return writes.map(({ path, content }) => `${content === undefined ? 'D' : 'M'} ${path}`).join('\n')
}

function shellTools() {
  return {
    bash: {
      description:
        'Runs a command in bash, in the sandbox. With background it goes on after the answer, for servers and watchers; ' +
        'its output goes to a file.',
      args: {
        command: text('The command'),
        description: optional(text('What it does, in five to ten words')),
        timeout: optional(number(`Milliseconds until it is killed, ${COMMAND_LIMIT_MS} by default`)),
        workdir: optional(text('Folder to run it in; the project by default')),
        background: optional(flag('Do not wait for its end')),
      },
      async execute({ command, description, timeout, workdir, background }, workspace, { abort, metadata }) {
        const { sandbox } = workspace
        const cwd = workspace.path(workdir)
        const title = description ?? command
        if (background) {
          const started = await expect(
            sandbox,
            'log=$(mktemp /tmp/background-XXXXXX); setsid nohup bash -c "$COMMAND" >"$log" 2>&1 </dev/null & echo "$! $log"',
            { cwd, env: { COMMAND: command }, signal: abort },
          )
          const [pid, log] = started.trim().split(' ')
          return {
            title,
            output: `It runs as process ${pid} and writes to ${log}. "kill -- -${pid}" ends it.`,
            metadata: { pid: Number(pid), log },
          }
        }
        const timeoutMs = timeout ?? COMMAND_LIMIT_MS
        const show = (output) => metadata?.({ title, metadata: { output, description } })
        let shown = -Infinity
        const onOutput = (all) => {
          if (performance.now() - shown < SHOWN_EVERY_MS) return
          shown = performance.now()
          show(all.text)
        }
        const { output, exitCode, timedOut } = await run(sandbox, command, { cwd, timeoutMs, signal: abort, onOutput })
        show(output)
        const notes = []
        if (timedOut) notes.push(`It ran over its limit of ${timeoutMs} ms and was killed. Pass a longer timeout, or background.`)
        else if (exitCode !== 0) notes.push(`exit code: ${exitCode}`)
        return {
          title,
          output: [output, ...notes].filter(Boolean).join('\n') || '(no output)',
          metadata: { output, exit: exitCode ?? null, description },
        }
      },
    },

    getPreviewURL: {
      description: 'A URL at which the user reaches a port of the sandbox in a browser, for an hour.',
      args: { port: number('The port that a server in the sandbox listens on') },
      async execute({ port }, { sandbox }) {
        const { url } = await sandbox.getSignedPreviewUrl(port, 3600)
        return { title: `Port ${port}`, output: url, metadata: { port, url } }
      },
    },
  }
}

function fileTools() {
  const patch = {
    description:
      'Changes several files at once, all or none. The patch goes from the line "*** Begin Patch" to "*** End Patch". ' +
      'It has "*** Add File: PATH" with lines that begin with +, "*** Delete File: PATH", and "*** Update File: PATH", ' +
      'perhaps with "*** Move to: PATH", and hunks that begin with @@ whose lines begin with a space, - or +.',
    args: { patchText: text('The patch') },
    async execute({ patchText }, workspace) {
      return { title: 'Patch', output: await applyPatch(workspace, patchText), metadata: {} }
    },
  }
  return {
    read: {
      description: 'Reads a file of the sandbox, with line numbers. Pictures and PDFs are shown as they are.',
      args: {
        filePath,
        offset: optional(number('Lines to leave out at the beginning')),
        limit: optional(number(`Lines to show, ${LINES} by default`)),
      },
      async execute(args, workspace) {
        const path = workspace.path(args.filePath)
        const bytes = await workspace.sandbox.fs.downloadFile(path)
        const mime = ATTACHED.get(posix.extname(path).toLowerCase())
        const title = posix.relative(workspace.project, path)
        if (mime) {
          const url = `data:${mime};base64,${bytes.toString('base64')}`
          const attachments = [{ type: 'file', mime, url, filename: posix.basename(path) }]
          return { title, output: `${path}, ${bytes.length} bytes`, metadata: {}, attachments }
        }
        if (bytes.subarray(0, 4096).includes(0)) throw new Error(`${path} is not a text: look at it with a command`)
        const output = numbered(bytes.toString('utf8'), args.offset ?? 0, args.limit ?? LINES)
        return { title, output: output || '(the file is empty)', metadata: {} }
      },
    },

    write: {
      description: 'Writes a file of the sandbox, with all that it shall hold. Missing folders are made.',
      args: { filePath, content: text('All of it') },
      async execute({ filePath, content }, workspace) {
        const path = workspace.path(filePath)
        await writeText(workspace, path, content)
        return { title: posix.relative(workspace.project, path), output: `${path} is written.`, metadata: {} }
      },
    },

    edit: {
      description: 'Replaces a text in a file of the sandbox. It must be there exactly once, unless replaceAll is set.',
      args: { filePath, ...change },
      async execute({ filePath, ...edit }, workspace) {
        const path = workspace.path(filePath)
        const create = edit.oldString === '' && !(await exists(workspace, path))
        await writeText(workspace, path, create ? edit.newString : replace(await readText(workspace, path), edit))
        return { title: posix.relative(workspace.project, path), output: `${path} is changed.`, metadata: {} }
      },
    },

    multiedit: {
      description: 'Replaces several texts in a file of the sandbox, one after the other; all or none.',
      args: { filePath, edits: list(object(change), 'The changes, in their order') },
      async execute({ filePath, edits }, workspace) {
        const path = workspace.path(filePath)
        await writeText(workspace, path, edits.reduce(replace, await readText(workspace, path)))
        return {
          title: posix.relative(workspace.project, path),
          output: `${path} is changed in ${edits.length} places.`,
          metadata: {},
        }
      },
    },

    patch,
    // What OpenCode offers to models that know this form; its own would change files of this machine.
    apply_patch: patch,
  }
}

module.exports = { fileTools, shellTools }
