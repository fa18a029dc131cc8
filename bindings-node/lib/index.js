'use strict'

const { classes, SOURCE_API, SOURCE_DAEMON, SOURCE_PROXY } = require('./errors')
const { Daytona } = require('./daytona')
const { ExecStream } = require('./exec_stream')
const { FileSystem } = require('./files')
const { CodeInterpreter, Result } = require('./interpreter')
const { OutputChunk } = require('./output')
const { PtyHandle } = require('./pty')
const { LogStream } = require('./session')
const { Sandbox } = require('./sandbox')
const { SnapshotService } = require('./snapshot')

module.exports = {
  ...require('./enums'),
  ...classes,
  ...require('./process'),
  CodeInterpreter,
  Daytona,
  ExecStream,
  FileSystem,
  LogStream,
  OutputChunk,
  PtyHandle,
  Result,
  SOURCE_API,
  SOURCE_DAEMON,
  SOURCE_PROXY,
  Sandbox,
  SnapshotService,
}
