/// <reference types="node" />

import type { Readable } from 'node:stream'
import type { ReadableStream as WebReadableStream } from 'node:stream/web'
import type { CallOptions } from './call.js'

/** What to change about a file; what is not given stays. */
export type FilePermissionsParams = {
  /** Group name. */
  group?: string
  /** Octal digits: `644`. */
  mode?: string
  /** User name. */
  owner?: string
}

/** One file to upload. */
export interface FileUpload {
  /** Its contents, or the path of a local file, which is read as it is sent. */
  source: string | Buffer | Uint8Array
  /** Its path in the sandbox; missing folders are made. */
  destination: string
}

/** One file to download. */
export interface FileDownloadRequest {
  /** Its path in the sandbox. */
  source: string
  /** Path of a local file to write; memory if there is none. */
  destination?: string
}

/** Why a file could not be downloaded. */
export interface FileDownloadErrorDetails {
  message: string
  /** As an HTTP status. */
  statusCode?: number
  /** Stable name: `FILE_NOT_FOUND`. */
  code?: string
  /** @deprecated Use `code`. */
  errorCode?: string
  /** The service that failed: {@link SOURCE_DAEMON}. */
  source?: string
}

/** What became of one {@link FileDownloadRequest}. */
export interface FileDownloadResponse {
  /** The path as it was asked for. */
  source: string
  /** The contents, or the path of the local file. */
  result?: Buffer | string
  /** Why not. */
  error?: string
  /** The same in parts. */
  errorDetails?: FileDownloadErrorDetails
}

/** What is known of one download of several. */
export interface DownloadMetadata {
  destination?: string
  error?: string
  errorDetails?: FileDownloadErrorDetails
  result?: Buffer | string | Uint8Array
}

/** How far a download is. */
export type DownloadProgress = {
  /** Bytes so far. */
  bytesReceived: number
  /** Bytes in all, where the server says. */
  totalBytes?: number
}

/** How far an upload is. */
export type UploadProgress = {
  /** Bytes so far. */
  bytesSent: number
}

/** How to stream a download. */
export type DownloadStreamOptions = {
  /** Called for each piece; an error it throws ends the download. */
  onProgress?: (progress: DownloadProgress) => void
  /** Ends the download: the stream fails with `Download cancelled`, whose cause is the signal's reason. */
  signal?: AbortSignal
  /** Seconds without progress after which it fails; 0 is no limit. Default 1800. */
  timeout?: number
}

/** What can be uploaded as a stream: a local path, bytes, or anything that gives bytes in pieces. */
export type UploadSource =
  | Buffer
  | Uint8Array
  | string
  | Readable
  | ReadableStream<Uint8Array>
  | WebReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>

/** How to stream an upload. */
export type UploadStreamOptions = {
  /** Called as pieces are sent; an error it throws ends the upload. */
  onProgress?: (progress: UploadProgress) => void
  /** Ends the upload: it fails with `Upload cancelled`, whose cause is the signal's reason. */
  signal?: AbortSignal
  /** Seconds without progress after which it fails; 0 is no limit. Default 1800. */
  timeout?: number
}

/** One entry of the file system. */
export interface FileInfo {
  /** Base name. Each byte that is not UTF-8 is `\x` and two digits, and a path takes it so. */
  name: string
  /** Path relative to the listed folder; only in lists deeper than one level. */
  path?: string
  /** Bytes. */
  size: number
  /** As `ls -l` prints it: `-rw-r--r--`. */
  mode: string
  /** Octal digits: `0644`. */
  permissions: string
  /** @deprecated Use `modifiedAt`. */
  modTime: string
  /** RFC 3339. */
  modifiedAt: string
  /** True for a folder. */
  isDir: boolean
  /** User name. */
  owner: string
  /** Group name. */
  group: string
}

/** One line that holds what was looked for. */
export interface Match {
  /** Path of the file. */
  file: string
  /** Line number, from 1. */
  line: number
  /** The line, without its end. */
  content: string
}

/** What became of one file of {@link FileSystem.replaceInFiles}. */
export interface ReplaceResult {
  /** The path as it was asked for. */
  file?: string
  /** True if the file is as wanted now. */
  success?: boolean
  /** Why not. */
  error?: string
}

/** The answer of {@link FileSystem.searchFiles}. */
export interface SearchFilesResponse {
  /** Paths whose base name matches. */
  files: string[]
}

/**
 * The files of one sandbox. Relative paths start from its work directory, `~/` is the home of its user. The `timeout` of
 * a transfer is in seconds without progress, default 1800; 0 is no limit.
 */
export declare class FileSystem {
  private constructor()

  /**
   * Makes a folder and its parents; fine if it is there.
   *
   * @param mode  octal digits: `755`
   */
  createFolder(path: string, mode: string, options?: CallOptions): Promise<void>

  /**
   * Deletes a file, or with `recursive` a folder and all in it.
   *
   * @throws {DaytonaFileNotFoundError}
   */
  deleteFile(path: string, recursive?: boolean, options?: CallOptions): Promise<void>

  /**
   * Reads a file into memory.
   *
   * @throws {DaytonaFileNotFoundError}
   * @throws {DaytonaFileAccessDeniedError}
   */
  downloadFile(remotePath: string, timeout?: number, options?: CallOptions): Promise<Buffer>

  /**
   * Reads a file to a local one, which is replaced as a whole or not at all; missing folders are made.
   *
   * @throws {DaytonaFileNotFoundError}
   * @throws {DaytonaFileAccessDeniedError}
   */
  downloadFile(remotePath: string, localPath: string, timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Opens a file to read it piece by piece, as fast as the pieces are taken. Destroying the stream
   * ends the download.
   *
   * @throws {DaytonaFileNotFoundError} before there is a stream
   */
  downloadFileStream(remotePath: string, timeout?: number): Promise<Readable>
  downloadFileStream(remotePath: string, options?: DownloadStreamOptions): Promise<Readable>

  /** Reads many files in one request, each with its own result. */
  downloadFiles(
    files: FileDownloadRequest[],
    timeoutSec?: number,
    options?: CallOptions,
  ): Promise<FileDownloadResponse[]>

  /** The lines of the files beneath `path` that hold `pattern`, which is plain text. */
  findFiles(path: string, pattern: string, options?: CallOptions): Promise<Match[]>

  /**
   * What is known about a file or folder.
   *
   * @throws {DaytonaFileNotFoundError}
   */
  getFileDetails(path: string, options?: CallOptions): Promise<FileInfo>

  /**
   * The entries of a folder, by name.
   *
   * @param options  `depth` says how many levels deep: an integer of at least 1, which is the default
   * @throws {DaytonaFileNotFoundError}
   */
  listFiles(path: string, options?: CallOptions & { depth?: number }): Promise<FileInfo[]>

  /** Moves or renames a file or folder. */
  moveFiles(source: string, destination: string, options?: CallOptions): Promise<void>

  /** Replaces plain text in files; one that cannot be changed does not stop the others. */
  replaceInFiles(files: string[], pattern: string, newValue: string, options?: CallOptions): Promise<ReplaceResult[]>

  /** The paths beneath `path` whose base name matches a glob such as `*.py`. */
  searchFiles(path: string, pattern: string, options?: CallOptions): Promise<SearchFilesResponse>

  /**
   * Changes mode, owner and group.
   *
   * @throws {DaytonaFileNotFoundError}
   */
  setFilePermissions(path: string, permissions: FilePermissionsParams, options?: CallOptions): Promise<void>

  /**
   * Writes a file from memory; missing folders are made. It is there as a whole or not at all.
   *
   * @throws {DaytonaFileAccessDeniedError}
   */
  uploadFile(file: Buffer | Uint8Array, remotePath: string, timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Writes a file from a local one, which is read as it is sent and keeps its name in a folder: `dir/`.
   *
   * @throws {DaytonaInvalidArgumentError} if the local file cannot be read
   */
  uploadFile(localPath: string, remotePath: string, timeout?: number, options?: CallOptions): Promise<void>

  /**
   * Writes a file from a stream, as fast as it is sent: memory stays flat whatever the size. A stream
   * can be sent once only, so a broken connection is not made good by another try.
   */
  uploadFileStream(source: UploadSource, remotePath: string, options?: UploadStreamOptions): Promise<void>

  /** Writes many files in one request; those that could be written are written. */
  uploadFiles(files: FileUpload[], timeout?: number, options?: CallOptions): Promise<void>
}
