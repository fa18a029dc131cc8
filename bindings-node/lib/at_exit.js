'use strict'

const { isMainThread } = require('node:worker_threads')
const { native } = require('./native')

let isSet = false

/** Has the program give back at its end what it would leave behind: sandboxes of terminals and of unfinished calls. */
function finishAtExit() {
  // A worker that ends drops what it has; the work of other threads goes on.
  if (isSet || !isMainThread) return
  isSet = true
  process.on('exit', () => native.finishWork())
}

module.exports = { finishAtExit }
