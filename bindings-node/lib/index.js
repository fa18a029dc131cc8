'use strict'

const { classes, SOURCE_API, SOURCE_DAEMON, SOURCE_PROXY } = require('./errors')
const { Daytona } = require('./daytona')
const { FileSystem } = require('./files')
const { CodeRunParams, Process } = require('./process')
const { Sandbox } = require('./sandbox')

module.exports = {
  ...require('./enums'),
  ...classes,
  CodeRunParams,
  Daytona,
  FileSystem,
  Process,
  SOURCE_API,
  SOURCE_DAEMON,
  SOURCE_PROXY,
  Sandbox,
}
