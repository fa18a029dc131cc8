'use strict'

const { invalid } = require('./errors')

// What JavaScript calls a type where no declarations are checked. Everything else is the core's.

function kindOf(value) {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : typeof value
}

function text(name, value) {
  if (typeof value !== 'string') throw invalid(`${name} must be a string, not ${kindOf(value)}`)
  return value
}

function optionalText(name, value) {
  return value == null ? undefined : text(name, value)
}

function optionalNumber(name, value) {
  if (value == null) return undefined
  if (typeof value !== 'number') throw invalid(`${name} must be a number, not ${kindOf(value)}`)
  return value
}

function integer(name, value) {
  if (!Number.isSafeInteger(value)) {
    throw invalid(`${name} must be an integer, not ${typeof value === 'number' ? value : kindOf(value)}`)
  }
  return value
}

function list(name, value) {
  if (!Array.isArray(value)) throw invalid(`${name} must be an array, not ${kindOf(value)}`)
  return value
}

function object(name, value) {
  if (value == null) return {}
  if (typeof value !== 'object') throw invalid(`${name} must be an object, not ${kindOf(value)}`)
  return value
}

/** Text as UTF-8, or bytes as they are. */
function bytes(name, value) {
  if (typeof value === 'string') return Buffer.from(value)
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  throw invalid(`${name} must be a string or bytes, not ${kindOf(value)}`)
}

function callback(name, value) {
  if (value != null && typeof value !== 'function') throw invalid(`${name} must be a function, not ${kindOf(value)}`)
  return value ?? undefined
}

/** JSON in which what JSON would drop in silence stays, to be refused with its name. */
function json(value) {
  return JSON.stringify(value, (_, item) => (typeof item === 'number' && !Number.isFinite(item) ? String(item) : item))
}

function optionalJson(value) {
  return value == null ? undefined : json(value)
}

/** The time limit of a call: its own parameter, else that of its options. */
function limit(timeout, options) {
  return optionalNumber('timeout', timeout ?? options?.timeout)
}

/** A date as RFC 3339. */
function time(name, value) {
  if (value == null) return undefined
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw invalid(`${name} is not a valid date`)
  return value.toISOString()
}

module.exports = {
  bytes,
  callback,
  integer,
  json,
  limit,
  list,
  object,
  optionalJson,
  optionalNumber,
  optionalText,
  text,
  time,
}
