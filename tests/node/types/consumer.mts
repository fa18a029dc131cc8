// Checked, not run: an ES module that uses everything the way programs do.
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import {
  ChartType,
  CodeLanguage,
  CodeRunParams,
  Daytona,
  DaytonaConnectionTimeoutError,
  DaytonaError,
  DaytonaFileNotFoundError,
  DaytonaNotFoundError,
  LspLanguageId,
  ListSecretsPaginatedSortEnum,
  Image,
  PtyHandle,
  SandboxProvider,
  TerminalBackend,
  SandboxListSortField,
  SandboxState,
  SOURCE_DAEMON,
} from 'daytona-native'
import type {
  ApiKey,
  BarChart,
  BuildLog,
  Chart,
  Command,
  CompletionList,
  Context,
  ContextUploadProgress,
  CreateSandboxFromImageParams,
  CreateSandboxFromSnapshotParams,
  CreateSnapshotParams,
  DaytonaConfig,
  DownloadProgress,
  ExecStream,
  ExecuteResponse,
  ExecutionResult,
  FileDownloadResponse,
  FileInfo,
  GitCommitResponse,
  GitStatus,
  InterpreterContext,
  LineChart,
  ListSandboxesQuery,
  LogStream,
  LspServer,
  LspSymbol,
  Match,
  OutputMessage,
  PortPreviewUrl,
  PtyCreateOptions,
  PtyResult,
  PtySessionInfo,
  ProviderStatus,
  Resources,
  RunCodeOptions,
  Sandbox,
  SandboxHandle,
  SandboxMetrics,
  Secret,
  Session,
  SessionCommandLogsResponse,
  SessionExecuteResponse,
  Snapshot,
  SignedPortPreviewUrl,
  SshAccessDto,
  SshAccessValidationDto,
  UploadSource,
  UploadStreamOptions,
  Volume,
  VolumeMount,
  TerminalResult,
  WarmPool,
} from 'daytona-native'

const config: DaytonaConfig = { apiKey: 'key', apiUrl: 'http://127.0.0.1/api', requestTimeoutMs: 1000 }
await using daytona = new Daytona(config)
const local: Daytona = Daytona.local({ dataDir: '/tmp/data', runtime: 'ns' })
const runtime: Promise<string | undefined> = local.runtime()
const { signal } = new AbortController()

const volumes: VolumeMount[] = [{ volumeId: 'v', mountPath: '/v' }]
const fromSnapshot: CreateSandboxFromSnapshotParams = { language: CodeLanguage.PYTHON, volumes, labels: { a: 'b' } }
const resources: Resources = { cpu: 2, memory: 4 }
const fromImage: CreateSandboxFromImageParams = { image: 'debian:12', resources }
const sandbox: Sandbox = await daytona.create(fromSnapshot, { timeout: 10, signal })
await daytona.create(fromImage)
await local.get(sandbox.id, { signal, timeout: 5 })

const image: Image = Image.debianSlim('3.12')
  .pipInstall(['x', 'y'], { pre: true, extraIndexUrls: ['https://example.com'] })
  .pipInstallFromPyproject('pyproject.toml', { optionalDependencies: ['dev'] })
  .addLocalDir('app', '/app')
  .runCommands('true', ['echo', 'a b'])
  .dockerfileCommands(['COPY x /x'], '.', { strictContext: true })
const copied: Context[] = image.contextList
const tell = (line: string) => console.log(line)
const onUploadProgress = ({ bytesSent, totalBytes }: ContextUploadProgress) => console.log(bytesSent, totalBytes)
await daytona.create({ image }, { timeout: 0, onSnapshotCreateLogs: tell, onUploadProgress })
const making: CreateSnapshotParams = { name: 's', image, resources, entrypoint: ['sleep', '1'] }
const snapshot: Snapshot = await daytona.snapshot.create(making, { onLogs: tell, timeout: 60, signal })
const buildLog: BuildLog = await daytona.snapshot.buildLogs(snapshot, { signal })
for await (const text of buildLog) tell(text.trim())
await daytona.snapshot.deactivate('s')
const active: Snapshot = await daytona.snapshot.activate(snapshot)
// @ts-expect-error no such version
Image.debianSlim('2.7')
// @ts-expect-error begin with base, debianSlim or fromDockerfile
new Image()
void [copied, active]

const query: ListSandboxesQuery = {
  states: [SandboxState.STARTED],
  sort: SandboxListSortField.NAME,
  createdAtAfter: new Date(),
}
for await (const listed of daytona.list(query)) {
  const state: SandboxState | undefined = listed.state
  void state
}

const answer: ExecuteResponse = await sandbox.process.executeCommand('ls', '/tmp', { A: '1' }, 5, { signal })
const code: number = answer.exitCode
const params = new CodeRunParams()
params.argv = ['a']
await sandbox.process.codeRun('print(1)', params, 5)
await sandbox.process.codeRun('print(1)', { env: { A: '1' } })

const content: Buffer = await sandbox.fs.downloadFile('a')
const timed: Buffer = await sandbox.fs.downloadFile('a', 10, { signal })
const nothing: void = await sandbox.fs.downloadFile('a', 'b', 10, { signal })
const stream: Readable = await sandbox.fs.downloadFileStream('a', {
  signal,
  onProgress: ({ bytesReceived, totalBytes }: DownloadProgress) => void (bytesReceived + (totalBytes ?? 0)),
})
await sandbox.fs.downloadFileStream('a', 10)
const files: FileDownloadResponse[] = await sandbox.fs.downloadFiles([{ source: 'a', destination: 'b' }])
const entries: FileInfo[] = await sandbox.fs.listFiles('.', { depth: 2, signal })
const matches: Match[] = await sandbox.fs.findFiles('.', 'text')
await sandbox.fs.setFilePermissions('a', { mode: '644' })
await sandbox.fs.uploadFile(Buffer.from('a'), 'a', 10)
await sandbox.fs.uploadFiles([
  { source: 'local', destination: 'a' },
  { source: content, destination: 'b' },
])

const uploadOptions: UploadStreamOptions = { signal, onProgress: ({ bytesSent }) => void bytesSent }
async function* pieces() {
  yield new Uint8Array(1)
}
const sources: UploadSource[] = ['local', content, createReadStream('local'), new Blob([]).stream(), pieces()]
for (const source of sources) await sandbox.fs.uploadFileStream(source, 'a', uploadOptions)

const { process: commands, codeInterpreter } = sandbox
const charts: Chart[] = (await commands.codeRun('plot()')).artifacts?.charts ?? []
for (const chart of charts) {
  if (chart.type === ChartType.LINE) void [(chart as LineChart).x_ticks, chart.elements?.[0]?.points?.[0]?.[1]]
  if (chart.type === ChartType.BAR) void (chart as BarChart).elements
}

await commands.createSession('s')
const session: Session = await commands.getSession('s', { timeout: 5 })
const first: Command | undefined = session.commands[0]
const run: SessionExecuteResponse = await commands.executeSessionCommand('s', { command: 'ls', runAsync: true }, 5)
const logs: SessionCommandLogsResponse = await commands.getSessionCommandLogs('s', run.cmdId)
const ended: void = await commands.getSessionCommandLogs(
  's',
  run.cmdId,
  (chunk: string) => void chunk,
  (chunk: string) => void chunk,
)
const only: void = await commands.getEntrypointLogs((chunk) => void chunk.length, undefined, { signal })
const log: LogStream = await commands.followSessionCommandLogs('s', run.cmdId, { signal })
for await (const { stream, text, data } of log) {
  const known: 'stdout' | 'stderr' = stream
  const size: number = text.length + data.byteLength
  void [known, size]
}
{
  await using stream: ExecStream = await commands.executeCommandStream('cat', '/tmp', { A: '1' }, 5, { signal })
  await stream.writeStdin('text')
  await stream.writeStdin(new Uint8Array(1))
  await stream.closeStdin()
  await stream.signal('SIGINT')
  await stream.signal(2)
  for await (const chunk of stream) void chunk.text
  const exit: number = await stream.wait()
  const known: number | undefined = stream.exitCode
  void [exit, known]
}

const create: PtyCreateOptions = { id: 'p', cols: 80, rows: 24 }
const pty: PtyHandle = await commands.createPty({ ...create, onData: async (data: Uint8Array) => void data })
await commands.connectPty('p', { replay: true })
await pty.sendInput(new Uint8Array([3]))
const resized: PtySessionInfo = await pty.resize(100, 30)
const result: PtyResult = await pty.wait({ timeout: 5 })
for await (const data of pty) void data.byteLength

const context: InterpreterContext = await codeInterpreter.createContext('/tmp')
const how: RunCodeOptions = { context, timeout: 5, onStdout: ({ output }: OutputMessage) => output, results: true }
const outcome: ExecutionResult = await codeInterpreter.runCode('1', how)
const shown: string | undefined = outcome.results?.[0]?.text
void [first, logs, ended, only, resized, result, shown, outcome.error?.traceback]

await sandbox.git.clone('https://host/x.git', 'x', 'main', undefined, 'user', 'token', false, 1, { signal, timeout: 60 })
const gitStatus: GitStatus = await sandbox.git.status('x')
const { sha }: GitCommitResponse = await sandbox.git.commit('x', 'message', 'Me', 'me@example.com', true)
const remote: string | undefined = await sandbox.git.remoteGet('x', 'origin')
await sandbox.git.push('x', undefined, undefined, 'main', 'origin', true)
void [gitStatus.fileStatus[0]?.staging === 'Modified', sha, remote]

const lsp: LspServer = await sandbox.createLspServer(LspLanguageId.PYTHON, 'x')
await (await sandbox.createLspServer('typescript', 'x')).start({ timeout: 60 })
const symbols: LspSymbol[] = await lsp.documentSymbols('main.py')
const completions: CompletionList = await lsp.completions('main.py', { line: 0, character: 1 }, { signal })
void [symbols[0]?.location.range.start.line, completions.items[0]?.label]

const link: PortPreviewUrl = await sandbox.getPreviewLink(3000, { signal })
const signed: SignedPortPreviewUrl = await sandbox.getSignedPreviewUrl(3000, 60)
await sandbox.expireSignedPreviewUrl(signed.port, signed.token)
const access: SshAccessDto = await sandbox.createSshAccess(60)
const valid: SshAccessValidationDto = await sandbox.validateSshAccess(access.token)
await sandbox.revokeSshAccess(access.token)
void [link.url, signed.url, access.sshCommand, valid.valid]

const labels: Record<string, string> = await sandbox.setLabels({ a: 'b' })
await sandbox.stop(60, true, { signal })
await sandbox.delete(60, true)

try {
  await sandbox.refreshData()
} catch (error) {
  if (error instanceof DaytonaFileNotFoundError) {
    const parent: DaytonaNotFoundError = error
    const status: number | undefined = parent.statusCode
    void status
  } else if (error instanceof DaytonaConnectionTimeoutError) {
    void error.attempts
  } else if (error instanceof DaytonaError) {
    const header: string | undefined = error.headers?.get('retry-after')
    void [error.code, error.errorCode, error.requestId, error.operation, error.source === SOURCE_DAEMON, header]
  }
}

// @ts-expect-error a command is a string
await sandbox.process.executeCommand(5)
// @ts-expect-error sandboxes come from a client
new (sandbox.constructor as typeof import('daytona-native').Sandbox)()
// @ts-expect-error terminals come from a process
new PtyHandle()
// @ts-expect-error a session's request is an object
await commands.executeSessionCommand('s', 'ls')
// @ts-expect-error no such setting
const wrong: DaytonaConfig = { key: 'key' }

void [code, content, timed, nothing, stream, files, entries, matches, labels, wrong]

const volume: Volume = await daytona.volume.get('v', true)
await daytona.volume.delete(volume, { signal })
const secret: Secret = await daytona.secret.create({ name: 's', value: 'v', hosts: ['example.com'] })
const { items: secrets, nextCursor } = await daytona.secret.list({ limit: 2, sort: ListSecretsPaginatedSortEnum.NAME })
await daytona.secret.update(secret.id, { description: 'd' })
const pool: WarmPool = await daytona.warmPool.create({ snapshot: 'host', pool: 1 })
await daytona.warmPool.update(pool.id, { pool: 0 })
await sandbox.updateEnv({ A: 'b' }, { unset: ['C'], timeout: 5 })
await sandbox.updateSecrets({ KEY: secret.name })
const usage: SandboxMetrics[] = [await sandbox.getMetricsLatest(), ...(await sandbox.getMetrics(new Date(0)))]
const apiKeys: ApiKey[] = await daytona.api.listApiKeys({ timeout: 5 })
const users = await daytona.api.request<{ id: string }[]>('GET', '/organizations/o/users', { page: 1, all: undefined })
console.log(secrets.length, nextCursor, usage[0]?.timestamp.getTime(), apiKeys[0]?.name, users[0]?.id)
const terminal = new TerminalBackend({ terminal: { backend: 'daytona', daytona: { keepAlive: true } } }, { daytona })
const ran: TerminalResult = await terminal.run('true', { stdin: 'text', timeout: 5, signal })
for await (const { stream: name } of await terminal.exec('ls', { env: { A: 'b' } })) console.log(name, ran.exitCode)
await terminal.close({ timeout: 5 })
// @ts-expect-error a size has a unit
new TerminalBackend({ terminal: { daytona: { memory: 8 } } })
const provider = new SandboxProvider({ diskGB: 20 }, { apiKey: 'k' })
const handle: SandboxHandle = await provider.provision({ timeoutSec: 60 }, { timeout: 100 })
const providerStatus: ProviderStatus = await provider.status(handle)
await provider.terminate(handle, { force: providerStatus === 'running' })
console.log((await provider.capacity())[0]?.memoryGB.available, (await provider.capabilities()).pauseResume)
