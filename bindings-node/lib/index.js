'use strict'

const { classes, SOURCE_API, SOURCE_DAEMON, SOURCE_PROXY } = require('./errors')
const { Daytona } = require('./daytona')
const { ExecStream } = require('./exec_stream')
const { FileSystem } = require('./files')
const { Git } = require('./git')
const { CodeInterpreter, Result } = require('./interpreter')
const { LspLanguageId, LspServer } = require('./lsp')
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
  Git,
  LogStream,
  LspLanguageId,
  LspServer,
  OutputChunk,
  PtyHandle,
  Result,
  SOURCE_API,
  SOURCE_DAEMON,
  SOURCE_PROXY,
  Sandbox,
  SnapshotService,
}
