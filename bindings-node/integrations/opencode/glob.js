'use strict'

/** `a{b,c}` as `ab` and `ac`. */
function expandBraces(pattern) {
  const match = /\{([^{}]*)\}/.exec(pattern)
  if (!match) return [pattern]
  const [whole, choices] = match
  const before = pattern.slice(0, match.index)
  const after = pattern.slice(match.index + whole.length)
  return choices.split(',').flatMap((choice) => expandBraces(before + choice + after))
}

const TOKENS = /\*\*\/|\*\*|\*|\?|\[!?[^\]]+\]|[^*?[]+|\[/g

function toRegExp(pattern) {
  const source = pattern.replace(TOKENS, (token) => {
    if (token === '**/') return '(?:.*/)?'
    if (token === '**') return '.*'
    if (token === '*') return '[^/]*'
    if (token === '?') return '[^/]'
    if (token.length > 1 && token[0] === '[') return token.replace('[!', '[^').replaceAll('\\', '\\\\')
    return token.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^${source}$`)
}

/** Whether a relative path matches; a pattern without a slash looks at the name only. */
function matcher(pattern) {
  const expressions = expandBraces(pattern.replace(/^\.\//, '')).map((one) => toRegExp(one.includes('/') ? one : `**/${one}`))
  return (path) => expressions.some((expression) => expression.test(path))
}

module.exports = { expandBraces, matcher }
