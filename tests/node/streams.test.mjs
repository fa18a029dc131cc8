import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { getEventListeners, once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DaytonaConnectionError, DaytonaError, DaytonaFileNotFoundError } from 'daytona-native'
import { deferred, json, startFake, startServer } from './support.mjs'

const MIB = 1024 * 1024
const content = randomBytes(3 * MIB + 17)

let server
let sandbox
let folder
before(async () => {
  server = await startServer()
  sandbox = await server.connect().create()
  folder = await mkdtemp(join(tmpdir(), 'daytona-streams-'))
})
after(async () => {
  await server?.stop()
  if (folder) await rm(folder, { recursive: true, force: true })
})

async function* pieces(bytes, size = 100_000) {
  for (let begin = 0; begin < bytes.length; begin += size) yield bytes.subarray(begin, begin + size)
}

test('every kind of source can be uploaded', async () => {
  const path = join(folder, 'local')
  await writeFile(path, content)
  const sources = {
    buffer: () => content,
    uint8array: () => new Uint8Array(content),
    path: () => path,
    file: () => createReadStream(path),
    readable: () => Readable.from(pieces(content)),
    web: () => Readable.toWeb(Readable.from(pieces(content))),
    blob: () => new Blob([content]).stream(),
    generator: () => pieces(content),
    one: () => [content],
  }
  for (const [name, source] of Object.entries(sources)) {
    const sent = []
    await sandbox.fs.uploadFileStream(source(), `in/${name}`, { onProgress: ({ bytesSent }) => sent.push(bytesSent) })
    assert.ok((await sandbox.fs.downloadFile(`in/${name}`)).equals(content), name)
    assert.equal(sent.at(-1), content.length, name)
    assert.deepEqual(
      sent,
      [...sent].sort((a, b) => a - b),
      name,
    )
  }
  await sandbox.fs.uploadFileStream(Readable.from(['text ', 'in ', 'pieces']), 'in/text')
  assert.equal((await sandbox.fs.downloadFile('in/text')).toString(), 'text in pieces')
  await sandbox.fs.uploadFileStream(Readable.from([]), 'in/empty')
  assert.equal((await sandbox.fs.downloadFile('in/empty')).length, 0)
})

test('a buffer may be changed as soon as the call has returned', async () => {
  const mine = Buffer.from('before')
  const upload = sandbox.fs.uploadFile(mine, 'in/mine')
  mine.fill(0)
  await upload
  assert.equal((await sandbox.fs.downloadFile('in/mine')).toString(), 'before')
})

test("an error of the source is the upload's error, and nothing is written", async () => {
  const reason = new Error('the disk broke')
  const source = async function* () {
    yield content
    throw reason
  }
  await assert.rejects(sandbox.fs.uploadFileStream(source(), 'in/broken'), (error) => error === reason)
  await assert.rejects(sandbox.fs.getFileDetails('in/broken'), DaytonaFileNotFoundError)
  const destroyed = Readable.from(pieces(content))
  destroyed.destroy(reason)
  await assert.rejects(sandbox.fs.uploadFileStream(destroyed, 'in/broken'), (error) => error === reason)
  await assert.rejects(sandbox.fs.uploadFileStream(Readable.from([{}]), 'in/broken'), /must be bytes or a string/)
})

test('an upload can be cancelled, and its source is released', async () => {
  const controller = new AbortController()
  const source = new Readable({ read() {} })
  source.push(content)
  const started = deferred()
  const upload = sandbox.fs.uploadFileStream(source, 'in/cancelled', {
    signal: controller.signal,
    onProgress: started.resolve,
  })
  await started.promise
  controller.abort('changed my mind')
  await assert.rejects(upload, (error) => {
    assert.ok(error instanceof DaytonaError)
    assert.equal(error.message, 'Upload cancelled: in/cancelled')
    assert.equal(error.cause, 'changed my mind')
    return true
  })
  if (!source.destroyed) await once(source, 'close')
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  await assert.rejects(sandbox.fs.uploadFileStream(source, 'in/cancelled', controller), { message: /Upload cancelled/ })
})

test('an error that onProgress throws ends the transfer', async () => {
  const reason = new Error('no more')
  const onProgress = () => {
    throw reason
  }
  await assert.rejects(
    sandbox.fs.uploadFileStream(pieces(content), 'in/p', { onProgress }),
    (error) => error === reason,
  )
  await assert.rejects(sandbox.fs.uploadFileStream(content, 'in/p', { onProgress }), (error) => error === reason)
  const stream = await sandbox.fs.downloadFileStream('in/buffer', { onProgress })
  await assert.rejects(buffer(stream), (error) => error === reason)
})

test('a download is a Node stream, with progress', async () => {
  const seen = []
  const stream = await sandbox.fs.downloadFileStream('in/buffer', { onProgress: (progress) => seen.push(progress) })
  assert.ok(stream instanceof Readable)
  assert.ok((await buffer(stream)).equals(content))
  assert.deepEqual(seen.at(-1), { bytesReceived: content.length, totalBytes: content.length })
  assert.ok((await buffer(await sandbox.fs.downloadFileStream('in/buffer', 30))).equals(content))
  const web = Readable.toWeb(await sandbox.fs.downloadFileStream('in/buffer'))
  assert.equal((await new Response(web).arrayBuffer()).byteLength, content.length)
  await assert.rejects(sandbox.fs.downloadFileStream('in/missing'), DaytonaFileNotFoundError)
})

test('a download can be cancelled at any time', async () => {
  const cancelled = { message: 'Download cancelled' }
  await assert.rejects(sandbox.fs.downloadFileStream('in/buffer', { signal: AbortSignal.abort() }), cancelled)
  const controller = new AbortController()
  const stream = await sandbox.fs.downloadFileStream('in/buffer', { signal: controller.signal })
  await once(stream, 'readable')
  controller.abort('enough')
  await assert.rejects(buffer(stream), (error) => {
    assert.ok(error instanceof DaytonaError)
    assert.equal(error.message, 'Download cancelled')
    assert.equal(error.cause, 'enough')
    return true
  })
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
})

test('leaving the loop ends the download', async () => {
  const answered = deferred()
  const fake = await startFake((request, response) => {
    request.resume()
    answered.resolve(request.socket)
    response.writeHead(200, { 'content-type': 'multipart/form-data; boundary=x' })
    response.write('--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
    response.write(content)
  })
  try {
    const socket = await answeredSocket(fake, answered)
    const closed = once(socket, 'close')
    for await (const piece of socket.stream) {
      assert.ok(piece.length > 0)
      break
    }
    await closed
  } finally {
    await fake.stop()
  }
})

async function answeredSocket(fake, answered) {
  const stream = await fake.sandbox.fs.downloadFileStream('a')
  return Object.assign(await answered.promise, { stream })
}

test('a download that breaks off is an error, not an end', async () => {
  const fake = await startFake((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'multipart/form-data; boundary=x' })
    response.write('--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf', () => {
      request.socket.destroy()
    })
  })
  try {
    const stream = await fake.sandbox.fs.downloadFileStream('a')
    await assert.rejects(buffer(stream), DaytonaConnectionError)
    const target = join(folder, 'kept')
    await writeFile(target, 'old')
    await assert.rejects(fake.sandbox.fs.downloadFile('a', target))
    assert.equal(await readFile(target, 'utf8'), 'old')
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('.daytona')),
      [],
    )
  } finally {
    await fake.stop()
  }
})

test('a source is not read faster than the server takes it', async () => {
  const paused = deferred()
  const fake = await startFake((request, response) => {
    request.pause()
    paused.resolve({ request, response })
  })
  try {
    const chunk = Buffer.alloc(256 * 1024)
    const total = 64
    let pulled = 0
    const source = async function* () {
      for (; pulled < total; pulled++) yield chunk
    }
    const upload = fake.sandbox.fs.uploadFileStream(source(), 'a')
    const { request, response } = await paused.promise
    // What fits into the sockets' buffers goes; then nothing.
    for (let before = -1; before !== pulled;) {
      before = pulled
      await sleep(200)
    }
    assert.ok(pulled < total, `${pulled} of ${total} pieces were read`)
    request.resume()
    await once(request, 'end')
    json(response, 200, { files: [] })
    await upload
    assert.equal(pulled, total)
  } finally {
    await fake.stop()
  }
})

test('a download is not read faster than it is taken', async () => {
  let written = 0
  const blocked = deferred()
  const total = 64 * MIB
  const fake = await startFake((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'multipart/form-data; boundary=x' })
    response.write('--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
    const chunk = Buffer.alloc(MIB)
    const more = () => {
      while (written < total) {
        written += MIB
        if (!response.write(chunk)) {
          blocked.resolve()
          response.once('drain', more)
          return
        }
      }
      response.end('\r\n--x--\r\n')
    }
    more()
  })
  try {
    const stream = await fake.sandbox.fs.downloadFileStream('a')
    await once(stream, 'readable')
    await blocked.promise
    for (let before = -1; before !== written;) {
      before = written
      await sleep(200)
    }
    assert.ok(written < total, `${written} bytes were taken from the server`)
    let length = 0
    for await (const piece of stream) length += piece.length
    assert.equal(length, total)
  } finally {
    await fake.stop()
  }
})

test('memory stays flat whatever the size', async () => {
  const size = 192 * MIB
  const chunk = randomBytes(MIB)
  const hash = createHash('sha256')
  const source = async function* () {
    for (let sent = 0; sent < size; sent += chunk.length) yield chunk
  }
  for (let sent = 0; sent < size; sent += chunk.length) hash.update(chunk)
  await sandbox.fs.uploadFileStream(pieces(content), 'in/warm')
  await buffer(await sandbox.fs.downloadFileStream('in/warm'))
  const base = process.memoryUsage.rss()
  let peak = 0
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5)
  try {
    await sandbox.fs.uploadFileStream(source(), 'in/large')
    const received = createHash('sha256')
    for await (const piece of await sandbox.fs.downloadFileStream('in/large')) received.update(piece)
    assert.equal(received.digest('hex'), hash.digest('hex'))
  } finally {
    clearInterval(watch)
  }
  assert.ok(peak - base < 64 * MIB, `${Math.round((peak - base) / MIB)} MiB above ${Math.round(base / MIB)}`)
})
