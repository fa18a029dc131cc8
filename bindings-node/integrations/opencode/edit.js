'use strict'

/** Replaces one text, or with `all` every place of it. */
function replace(content, { oldString, newString, replaceAll }) {
  if (oldString === newString) throw new Error('oldString and newString are the same: there is nothing to change')
  if (oldString === '') throw new Error('oldString is empty: use write to replace the whole file')
  if (content.includes('\r\n') && !oldString.includes('\r\n')) {
    oldString = oldString.replaceAll('\n', '\r\n')
    newString = newString.replaceAll('\n', '\r\n')
  }
  const places = content.split(oldString).length - 1
  if (places === 0) throw new Error('oldString is not in the file: it must match exactly, with all white space')
  if (places > 1 && !replaceAll) {
    throw new Error(`oldString is in the file ${places} times: add lines around it until it is there once, or set replaceAll`)
  }
  return replaceAll ? content.replaceAll(oldString, () => newString) : content.replace(oldString, () => newString)
}

const HEADER = /^\*\*\* (Add|Delete|Update) File: (.+)$/

/**
 * The changes of a patch in the form `*** Begin Patch` ... `*** End Patch`.
 *
 * @returns {{kind: 'Add' | 'Delete' | 'Update', path: string, to?: string, lines?: string[], hunks?: object[]}[]}
 */
function parsePatch(patch) {
  const lines = patch.replaceAll('\r\n', '\n').trim().split('\n')
  if (lines.shift() !== '*** Begin Patch') throw new Error('a patch begins with the line "*** Begin Patch"')
  if (lines.pop() !== '*** End Patch') throw new Error('a patch ends with the line "*** End Patch"')
  const changes = []
  let change
  for (const line of lines) {
    const header = HEADER.exec(line)
    if (header) {
      change = { kind: header[1], path: header[2].trim(), lines: [], hunks: [] }
      changes.push(change)
    } else if (!change) {
      throw new Error(`a patch names a file before the line ${JSON.stringify(line)}`)
    } else if (line.startsWith('*** Move to: ') && change.kind === 'Update') {
      change.to = line.slice('*** Move to: '.length).trim()
    } else if (change.kind === 'Add') {
      if (!line.startsWith('+')) throw new Error(`each line of a new file begins with +, not ${JSON.stringify(line)}`)
      change.lines.push(line.slice(1))
    } else if (change.kind === 'Update') {
      addToHunk(change.hunks, line)
    } else if (line !== '') {
      throw new Error(`there is nothing to say of a deleted file: ${JSON.stringify(line)}`)
    }
  }
  if (changes.length === 0) throw new Error('the patch changes nothing')
  return changes
}

function addToHunk(hunks, line) {
  if (line.startsWith('@@')) {
    hunks.push({ anchor: line.slice(2).trim(), old: [], new: [], atEnd: false })
    return
  }
  if (hunks.length === 0) hunks.push({ anchor: '', old: [], new: [], atEnd: false })
  const hunk = hunks.at(-1)
  const rest = line.slice(1)
  if (line === '*** End of File') hunk.atEnd = true
  else if (line.startsWith('+')) hunk.new.push(rest)
  else if (line.startsWith('-')) hunk.old.push(rest)
  else if (line === '' || line.startsWith(' ')) {
    hunk.old.push(rest)
    hunk.new.push(rest)
  } else throw new Error(`a line of a patch begins with a space, + or -, not ${JSON.stringify(line)}`)
}

/** A file after the hunks of a patch. Each is looked for after the one before. */
function applyHunks(content, hunks, path) {
  const lines = content.split('\n')
  let position = 0
  for (const hunk of hunks) {
    if (hunk.anchor && !hunk.anchor.startsWith('-')) {
      const anchor = lines.findIndex((line, index) => index >= position && line.trim() === hunk.anchor)
      if (anchor >= 0) position = anchor + (hunk.old[0]?.trim() === hunk.anchor ? 0 : 1)
      else if (hunk.old.length === 0) throw new Error(`${path} has no line ${JSON.stringify(hunk.anchor)}`)
    }
    const at = hunk.old.length === 0 && !hunk.anchor ? endOf(lines) : find(lines, hunk, position)
    if (at < 0) throw new Error(`${path} does not have these lines, in this order:\n${hunk.old.join('\n')}`)
    lines.splice(at, hunk.old.length, ...hunk.new)
    position = at + hunk.new.length
  }
  return lines.join('\n')
}

const endOf = (lines) => (lines.at(-1) === '' ? lines.length - 1 : lines.length)

/** Where the old lines of a hunk are: exactly, else but for white space at their ends, else but for all around them. */
function find(lines, { old, atEnd }, position) {
  for (const same of [(line) => line, (line) => line.trimEnd(), (line) => line.trim()]) {
    const matches = (at) => old.every((line, index) => at + index < lines.length && same(lines[at + index]) === same(line))
    if (atEnd && matches(endOf(lines) - old.length)) return endOf(lines) - old.length
    for (let at = position; at + old.length <= lines.length; at++) {
      if (matches(at)) return at
    }
  }
  return -1
}

module.exports = { applyHunks, parsePatch, replace }
