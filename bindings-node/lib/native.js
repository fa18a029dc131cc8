'use strict'

const path = require('node:path')

const ROOT = path.join(__dirname, '..')

function load() {
  const file = path.join(ROOT, 'daytona-native.node')
  try {
    return require(file)
  } catch (error) {
    throw new Error(
      `daytona-native cannot load ${file} on ${process.platform} ${process.arch}. ` +
        'Install a package built for this platform, or build it from source',
      { cause: error },
    )
  }
}

module.exports = {
  native: load(),
  /** The local server that comes with the package. */
  serverBinary: path.join(ROOT, 'bin', 'daytona-native'),
}
