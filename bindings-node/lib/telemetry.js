'use strict'

const { native } = require('./native')

/** Where `@opentelemetry/api` keeps what a program has set up, and the active span in a context. */
const API = Symbol.for('opentelemetry.js.api.1')
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN')

let on = false

/** For the first client whose calls are observed. */
function turnOn() {
  if (on) return
  on = true
  process.on('exit', () => native.flushTelemetry())
}

/** The span that the program itself is in, as the header `traceparent`; none where no call is observed. */
function parent() {
  if (!on) return undefined
  const span = globalThis[API]?.context?.active()?.getValue(SPAN)?.spanContext()
  return span && `00-${span.traceId}-${span.spanId}-0${span.traceFlags & 1}`
}

module.exports = { parent, turnOn }
