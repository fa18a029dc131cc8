'use strict'

const { native } = require('./native')

let isSet = false

/** Has the program give sandboxes back at its end that it would leave behind. */
function finishAtExit() {
  if (isSet) return
  isSet = true
  process.on('exit', () => native.finishWork())
}

module.exports = { finishAtExit }
