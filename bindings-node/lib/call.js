'use strict'

const { setInterval } = require('node:timers')
const { native } = require('./native')
const telemetry = require('./telemetry')
const { classes, invalid, toError } = require('./errors')

/** How a call of the bridge ends, or that it moves: the kinds of `completion.rs`. */
const PROGRESS = 1
const FAILED = 2
/** Number, kind and two values for each finished call. */
const SLOTS = 4

const calls = new native.NativeCalls(wake)
const pending = new Map()
let lastId = 0
// Keeps the process alive while calls are pending, and only then.
const keepAlive = setInterval(() => {}, 0x7fffffff)
keepAlive.unref()

function wake() {
  const done = calls.drain()
  for (let index = 0; index < done.length; index += SLOTS) {
    const entry = pending.get(done[index])
    if (entry) settle(entry, done[index + 1], done[index + 2], done[index + 3])
  }
}

function settle(entry, kind, first, second) {
  const { options } = entry
  try {
    if (kind === PROGRESS) {
      options?.onProgress?.(first, second ?? undefined)
      return
    }
    release(entry)
    if (kind === FAILED) {
      if (second !== null) options?.changed?.(second)
      entry.resolve(new Failure(first))
    } else {
      entry.resolve(options?.convert ? options.convert(first, second) : (first ?? undefined))
    }
  } catch (error) {
    // The caller's own function: its error ends the call.
    abandon(entry.id, error)
    entry.reject(error)
  }
}

function release(entry) {
  pending.delete(entry.id)
  if (pending.size === 0) keepAlive.unref()
  entry.unwatch?.()
}

/** Drops a call, and with it its request; it rejects with `reason`. */
function abandon(id, reason) {
  const entry = pending.get(id)
  if (!entry) return
  release(entry)
  calls.cancel(id)
  entry.reject(reason)
}

function nextId() {
  lastId = (lastId + 1) >>> 0
  return lastId
}

function register(entry) {
  if (pending.size === 0) keepAlive.ref()
  pending.set(entry.id, entry)
}

// One listener for all that waits for a signal: Node warns of more than ten.
const watched = new WeakMap()

/** Calls `action` when the signal aborts, until the function that it returns is called. */
function onAbort(signal, action) {
  let known = watched.get(signal)
  if (!known) {
    const actions = new Set()
    const listener = () => {
      for (const one of actions) one()
    }
    known = { actions, listener }
    watched.set(signal, known)
    signal.addEventListener('abort', listener, { once: true })
  }
  const { actions, listener } = known
  actions.add(action)
  return () => {
    if (!actions.delete(action) || actions.size > 0) return
    signal.removeEventListener('abort', listener)
    watched.delete(signal)
  }
}

function checkSignal(signal) {
  if (typeof signal.addEventListener !== 'function') throw invalid('signal must be an AbortSignal')
}

function reasonOf({ signal, cancelled }) {
  return cancelled ? cancelled(signal.reason) : signal.reason
}

/** The error of a call, in JSON. It becomes an `Error` where its stack shows who awaits it. */
class Failure {
  constructor(json) {
    this.json = json
  }
}

/**
 * Starts a call of the bridge. What comes of it is for `result`.
 *
 * @param start    called with the call's number
 * @param options  `convert(first, second)` makes the result, `changed(json)` takes a sandbox's data
 *                 after a failure, `onProgress(moved, total)`, `signal`, and `cancelled(reason)`,
 *                 which makes the error of a call that the signal ended
 */
function call(start, options) {
  const signal = options?.signal
  if (signal != null) {
    checkSignal(signal)
    if (signal.aborted) throw reasonOf(options)
  }
  return new Promise((resolve, reject) => {
    const entry = { id: nextId(), resolve, reject, options }
    if (signal != null) entry.unwatch = onAbort(signal, () => abandon(entry.id, reasonOf(options)))
    register(entry)
    const parent = telemetry.parent()
    if (parent !== undefined) calls.setParent(parent)
    try {
      start(entry.id)
    } catch (error) {
      release(entry)
      throw error
    }
  })
}

/** The result of a call, or its error, with the stack of the method that awaited it. */
function result(outcome) {
  if (!(outcome instanceof Failure)) return outcome
  const error = toError(outcome.json)
  Error.captureStackTrace(error, result)
  throw error
}

/** Waits for a call that the bridge has started already. */
function finished(id) {
  return new Promise((resolve, reject) => register({ id, resolve, reject }))
}

const closers = new FinalizationRegistry((unwatch) => unwatch())

/**
 * Closes a handle when the signal aborts. The signal does not keep the handle alive.
 *
 * @returns a function that ends this
 */
function closeOnAbort(signal, handle) {
  if (signal == null) return () => {}
  const weak = new WeakRef(handle)
  const unwatch = onAbort(signal, () => weak.deref()?.close())
  closers.register(handle, unwatch)
  if (signal.aborted) handle.close()
  return unwatch
}

/** The error of a stream that a signal ended. */
function cancelledError(message) {
  return (reason) => {
    const error = new classes.DaytonaError(message)
    Object.defineProperty(error, 'cause', { value: reason, configurable: true, writable: true })
    return error
  }
}

module.exports = { abandon, call, calls, cancelledError, closeOnAbort, finished, nextId, result }
