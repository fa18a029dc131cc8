'use strict'

const { native } = require('./native')
const { invalid } = require('./errors')

// What JavaScript calls a type where no declarations are checked. Everything else is the core's.

/** Objects that have nothing to read a parameter from. */
const OPAQUE =
  /^\[object (Date|Map|Set|WeakMap|WeakSet|Promise|RegExp|Error|AbortSignal|ArrayBuffer|Blob|URL|String|Number|Boolean)\]$/

function kindOf(value) {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  const tag = typeof value === 'object' ? OPAQUE.exec(Object.prototype.toString.call(value)) : null
  return tag ? `a ${tag[1]}` : typeof value
}

/** A function that refuses what is not of a type, with the name of what it is for. */
const type = (wanted, fits) => (name, value) => {
  if (!fits(value)) throw invalid(`${name} must be ${wanted}, not ${kindOf(value)}`)
  return value
}

const text = type('a string', (value) => typeof value === 'string')
const number = type('a number', (value) => typeof value === 'number')
const flag = type('a boolean', (value) => typeof value === 'boolean')
const action = type('a function', (value) => typeof value === 'function')
const list = type('an array', Array.isArray)
const record = type(
  'an object',
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !ArrayBuffer.isView(value) &&
    !OPAQUE.test(Object.prototype.toString.call(value)),
)
const anything = (_, value) => value
const abortSignal = type('an AbortSignal', (value) => typeof value?.addEventListener === 'function')

const listOf = (item) => (name, value) => {
  list(name, value).forEach((one, index) => item(`${name}[${index}]`, one))
  return value
}

const mapOf = (item) => (name, value) => {
  for (const [key, one] of Object.entries(record(name, value))) {
    // JSON leaves these out.
    if (one !== undefined) item(`${name}.${key}`, one)
  }
  return value
}

const texts = mapOf(text)

/** Values of one of these types. */
const either =
  (wanted, ...types) =>
  (name, value) => {
    for (const one of types) {
      try {
        return one(name, value)
      } catch {
        // Perhaps another.
      }
    }
    throw invalid(`${name} must be ${wanted}, not ${kindOf(value)}`)
  }

/**
 * An object of which every member is known, and of its type; one that is undefined or null is not there.
 *
 * @param shape  what `shapes.js` has of it: member to type
 */
function members(name, value, shape) {
  for (const key of Object.keys(record(name, value))) {
    const given = value[key]
    if (given === undefined) continue
    if (!Object.hasOwn(shape, key)) {
      throw invalid(`${name} has no field ${JSON.stringify(key)}. ${native.suggestion(key, Object.keys(shape))}`)
    }
    if (given !== null) shape[key](`${name}.${key}`, given)
  }
  return value
}

/** The same for what may be left out. */
function optionalMembers(name, value, shape) {
  return value == null ? {} : members(name, value, shape)
}

function optionalText(name, value) {
  return value == null ? undefined : text(name, value)
}

function optionalNumber(name, value) {
  return value == null ? undefined : number(name, value)
}

/** False where nothing is said. */
function optionalFlag(name, value) {
  return value == null ? false : flag(name, value)
}

function integer(name, value) {
  if (!Number.isSafeInteger(value)) {
    throw invalid(`${name} must be an integer, not ${typeof value === 'number' ? value : kindOf(value)}`)
  }
  return value
}

/** Something that a call has given, of which only some is read: more in it is fine. */
function object(name, value) {
  return value == null ? {} : record(name, value)
}

/** Text as UTF-8, or bytes as they are. */
function bytes(name, value) {
  if (typeof value === 'string') return Buffer.from(value)
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  throw invalid(`${name} must be a string or bytes, not ${kindOf(value)}`)
}

function callback(name, value) {
  return value == null ? undefined : action(name, value)
}

/** JSON in which what JSON would drop in silence stays, to be refused with its name. */
function json(value) {
  return JSON.stringify(value, (_, item) => (typeof item === 'number' && !Number.isFinite(item) ? String(item) : item))
}

/** Names and texts as JSON: an environment. */
function optionalTexts(name, value) {
  return value == null ? undefined : json(texts(name, value))
}

const SignalOptions = { signal: abortSignal }
const CallOptions = { ...SignalOptions, timeout: number }

/** The time limit of a call: its own parameter, else that of its options. */
function limit(timeout, options, shape = CallOptions, name = 'options') {
  optionalMembers(name, options, shape)
  return optionalNumber('timeout', timeout ?? options?.timeout)
}

/** Options of a call without a time limit. */
function signalOptions(options, name = 'options') {
  return optionalMembers(name, options, SignalOptions)
}

/** A date as RFC 3339. */
function time(name, value) {
  if (value == null) return undefined
  if (!(value instanceof Date)) throw invalid(`${name} must be a Date, not ${kindOf(value)}`)
  if (Number.isNaN(value.getTime())) throw invalid(`${name} is not a valid date`)
  return value.toISOString()
}

const date = (name, value) => {
  time(name, value)
  return value
}

module.exports = {
  CallOptions,
  SignalOptions,
  abortSignal,
  action,
  anything,
  bytes,
  callback,
  date,
  either,
  flag,
  integer,
  json,
  limit,
  list,
  listOf,
  mapOf,
  members,
  number,
  object,
  optionalFlag,
  optionalMembers,
  optionalNumber,
  optionalText,
  optionalTexts,
  record,
  signalOptions,
  text,
  texts,
  time,
}
