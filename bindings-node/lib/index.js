'use strict'

const { classes, SOURCE_API, SOURCE_DAEMON, SOURCE_PROXY } = require('./errors')
const { Api } = require('./api')
const { Daytona } = require('./daytona')
const { ExecStream } = require('./exec_stream')
const { FileSystem } = require('./files')
const { Git } = require('./git')
const { Image } = require('./image')
const { CodeInterpreter, Result } = require('./interpreter')
const { LspLanguageId, LspServer } = require('./lsp')
const { OutputChunk } = require('./output')
const { PtyHandle } = require('./pty')
const { LogStream } = require('./session')
const { Sandbox } = require('./sandbox')
const { SandboxProvider } = require('./sandbox_provider')
const { BuildLog, SnapshotService } = require('./snapshot')
const { TerminalBackend } = require('./terminal_backend')
const { VolumeService } = require('./volume')
const { WarmPoolService } = require('./warm_pool')

module.exports = {
  ...require('./enums'),
  ...classes,
  ...require('./process'),
  ...require('./secret'),
  Api,
  BuildLog,
  CodeInterpreter,
  Daytona,
  ExecStream,
  FileSystem,
  Git,
  Image,
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
  SandboxProvider,
  SnapshotService,
  TerminalBackend,
  VolumeService,
  WarmPoolService,
}
