'use strict'

const { call, cancelledError, result } = require('./call')
const { invalid } = require('./errors')
const {
  integer,
  json,
  limit,
  list,
  members,
  optionalFlag,
  optionalMembers,
  optionalNumber,
  text,
} = require('./arguments')
const shapes = require('./shapes')
const { openDownload, uploadPieces } = require('./streams')

/** A local path, or bytes. */
function contents(name, source) {
  if (typeof source === 'string' || ArrayBuffer.isView(source)) return source
  if (source instanceof ArrayBuffer) return new Uint8Array(source)
  throw invalid(`${name} must be a Buffer or the path of a local file`)
}

class FileSystem {
  #native

  constructor(native) {
    this.#native = native
  }

  async createFolder(path, mode, options) {
    text('path', path)
    text('mode', mode)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.createFolder(id, path, mode, seconds), { signal: options?.signal }))
  }

  async deleteFile(path, recursive, options) {
    text('path', path)
    const whole = optionalFlag('recursive', recursive)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.deleteFile(id, path, whole, seconds), { signal: options?.signal }),
    )
  }

  async downloadFile(remotePath, ...rest) {
    text('remotePath', remotePath)
    const localPath = typeof rest[0] === 'string' ? rest.shift() : undefined
    // Without a local path the official parameters are (path, timeout), or (path, undefined, timeout).
    if (localPath === undefined && rest[0] == null && typeof rest[1] === 'number') rest.shift()
    const [timeout, options] = rest
    const seconds = limit(timeout, options)
    return result(
      await call((id) => this.#native.downloadFile(id, remotePath, localPath, seconds), { signal: options?.signal }),
    )
  }

  async downloadFileStream(remotePath, timeoutOrOptions) {
    text('remotePath', remotePath)
    const options = typeof timeoutOrOptions === 'number' ? { timeout: timeoutOrOptions } : (timeoutOrOptions ?? {})
    const seconds = limit(undefined, options, shapes.DownloadStreamOptions)
    return await openDownload((id) => this.#native.downloadStream(id, remotePath, seconds), options)
  }

  async downloadFiles(files, timeoutSec, options) {
    list('files', files).forEach((file, index) => {
      text(`files[${index}].source`, members(`files[${index}]`, file, shapes.FileDownloadRequest).source)
    })
    const filesText = json(files.map(({ source, destination }) => ({ source, destination })))
    const seconds = limit(timeoutSec, options)
    const convert = (buffers, errorsText) => {
      const errors = JSON.parse(errorsText)
      return files.map(({ source, destination }, index) => {
        const details = errors[index]
        if (details === null) return { source, result: destination ?? buffers[index], error: undefined }
        const { message, statusCode, code, source: service } = details
        const given = (value) => value ?? undefined
        return {
          source,
          result: undefined,
          error: message,
          errorDetails: {
            message,
            statusCode: given(statusCode),
            code: given(code),
            errorCode: given(code),
            source: given(service),
          },
        }
      })
    }
    return result(
      await call((id) => this.#native.downloadFiles(id, filesText, seconds), { convert, signal: options?.signal }),
    )
  }

  async findFiles(path, pattern, options) {
    text('path', path)
    text('pattern', pattern)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.findFiles(id, path, pattern, seconds), fromJson(options)))
  }

  async getFileDetails(path, options) {
    text('path', path)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.getFileInfo(id, path, seconds), fromJson(options)))
  }

  async listFiles(path, options) {
    text('path', path)
    const seconds = limit(undefined, options, shapes.ListFilesOptions)
    const depth = options?.depth == null ? undefined : integer('depth', options.depth)
    return result(await call((id) => this.#native.listFiles(id, path, depth, seconds), fromJson(options)))
  }

  async moveFiles(source, destination, options) {
    text('source', source)
    text('destination', destination)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.moveFiles(id, source, destination, seconds), { signal: options?.signal }),
    )
  }

  async replaceInFiles(files, pattern, newValue, options) {
    const filesText = json(list('files', files))
    text('pattern', pattern)
    text('newValue', newValue)
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.replaceInFiles(id, filesText, pattern, newValue, seconds), fromJson(options)),
    )
  }

  async searchFiles(path, pattern, options) {
    text('path', path)
    text('pattern', pattern)
    const seconds = limit(undefined, options)
    return result(await call((id) => this.#native.searchFiles(id, path, pattern, seconds), fromJson(options)))
  }

  async setFilePermissions(path, permissions, options) {
    text('path', path)
    const given = members('permissions', permissions, shapes.FilePermissionsParams)
    const [mode, owner, group] = [given.mode ?? undefined, given.owner ?? undefined, given.group ?? undefined]
    const seconds = limit(undefined, options)
    return result(
      await call((id) => this.#native.setFilePermissions(id, path, mode, owner, group, seconds), {
        signal: options?.signal,
      }),
    )
  }

  async uploadFile(file, remotePath, timeout, options) {
    const source = contents('file', file)
    text('remotePath', remotePath)
    const seconds = limit(timeout, options)
    return result(
      await call((id) => this.#native.uploadFile(id, source, remotePath, seconds, false), { signal: options?.signal }),
    )
  }

  async uploadFileStream(source, remotePath, options) {
    text('remotePath', remotePath)
    const { timeout, signal, onProgress } = optionalMembers('options', options, shapes.UploadStreamOptions)
    const seconds = optionalNumber('timeout', timeout)
    const shared = {
      signal,
      cancelled: cancelledError(`Upload cancelled: ${remotePath}`),
      onProgress: onProgress && ((bytesSent) => onProgress({ bytesSent })),
    }
    const watched = Boolean(onProgress)
    if (typeof source === 'string' || ArrayBuffer.isView(source) || source instanceof ArrayBuffer) {
      const file = contents('source', source)
      return result(await call((id) => this.#native.uploadFile(id, file, remotePath, seconds, watched), shared))
    }
    return await uploadPieces((id) => this.#native.uploadStream(id, remotePath, seconds, watched), source, shared)
  }

  async uploadFiles(files, timeout, options) {
    list('files', files).forEach((file, index) => members(`files[${index}]`, file, shapes.FileUpload))
    const sources = files.map((file, index) => contents(`files[${index}].source`, file.source))
    const destinations = files.map((file, index) => text(`files[${index}].destination`, file.destination))
    const seconds = limit(timeout, options)
    return result(
      await call((id) => this.#native.uploadFiles(id, sources, destinations, seconds), { signal: options?.signal }),
    )
  }
}

function fromJson(options) {
  return { convert: (value) => JSON.parse(value), signal: options?.signal }
}

module.exports = { FileSystem }
