// Checked, not run: an ES module that uses everything the way programs do.
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import {
  CodeLanguage,
  CodeRunParams,
  Daytona,
  DaytonaConnectionTimeoutError,
  DaytonaError,
  DaytonaFileNotFoundError,
  DaytonaNotFoundError,
  SandboxListSortField,
  SandboxState,
  SOURCE_DAEMON,
} from 'daytona-native'
import type {
  CreateSandboxFromImageParams,
  CreateSandboxFromSnapshotParams,
  DaytonaConfig,
  DownloadProgress,
  ExecuteResponse,
  FileDownloadResponse,
  FileInfo,
  ListSandboxesQuery,
  Match,
  Resources,
  Sandbox,
  UploadSource,
  UploadStreamOptions,
  VolumeMount,
} from 'daytona-native'

const config: DaytonaConfig = { apiKey: 'key', apiUrl: 'http://127.0.0.1/api', requestTimeoutMs: 1000 }
await using daytona = new Daytona(config)
const local: Daytona = Daytona.local({ dataDir: '/tmp/data' })
const { signal } = new AbortController()

const volumes: VolumeMount[] = [{ volumeId: 'v', mountPath: '/v' }]
const fromSnapshot: CreateSandboxFromSnapshotParams = { language: CodeLanguage.PYTHON, volumes, labels: { a: 'b' } }
const resources: Resources = { cpu: 2, memory: 4 }
const fromImage: CreateSandboxFromImageParams = { image: 'debian:12', resources }
const sandbox: Sandbox = await daytona.create(fromSnapshot, { timeout: 10, signal })
await daytona.create(fromImage)
await local.get(sandbox.id, { signal, timeout: 5 })

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
// @ts-expect-error no such setting
const wrong: DaytonaConfig = { key: 'key' }

void [code, content, timed, nothing, stream, files, entries, matches, labels, wrong]
