import type { CallOptions } from './call.js'

/** What became of a file. */
export type Status =
  | 'Unmodified'
  | 'Untracked'
  | 'Modified'
  | 'Added'
  | 'Deleted'
  | 'Renamed'
  | 'Copied'
  | 'Updated but unmerged'
  | 'unknown_default_open_api'

/** A file that is not as it was committed. */
export interface FileStatus {
  /** Where it was before it was renamed; else empty. */
  extra: string
  /** Its path in the repository. Each byte that is not UTF-8 is `\x` and two digits. */
  name: string
  /** What is staged. */
  staging: Status
  /** What is not. */
  worktree: Status
}

/** What is checked out and what has changed. */
export interface GitStatus {
  /** Commits that the upstream lacks. */
  ahead?: number
  /** Commits of the upstream that are not here. */
  behind?: number
  /** The remote has the branch. */
  branchPublished?: boolean
  /** The branch that is checked out; `HEAD` where that is detached. */
  currentBranch: string
  /** `HEAD` is a commit, not a branch. */
  detached?: boolean
  /** The files that are not as they were committed. */
  fileStatus: FileStatus[]
  /** Such as `origin/main`; empty where there is none. */
  upstream?: string
}

/** The local branches. */
export interface ListBranchResponse {
  /** Their names, sorted. */
  branches: string[]
  /** The one that is checked out; empty where `HEAD` is detached. */
  current?: string
}

/** A repository elsewhere. */
export interface GitRemote {
  /** Such as `origin`. */
  name: string
  /** Where it is. */
  url: string
}

/** The remotes. */
export interface ListRemotesResponse {
  /** By name. */
  remotes: GitRemote[]
}

/** A commit. */
export interface GitCommitResponse {
  /** Its hash. */
  sha: string
}

/**
 * The git repositories of a sandbox. Relative paths start from its work directory; that of a repository is its root
 * folder. The git program of the sandbox does the work: a {@link DaytonaServiceUnavailableError} says that there is
 * none. Whatever talks to a remote is waited for for half an hour unless `timeout` or the client says otherwise.
 */
export declare class Git {
  private constructor()

  /**
   * Stages files for the next commit; `.` is everything. Names are taken literally.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaFileNotFoundError} if one of the files is not there
   */
  add(path: string, files: string[], options?: CallOptions): Promise<void>

  /**
   * The local branches.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   */
  branches(path: string, options?: CallOptions): Promise<ListBranchResponse>

  /**
   * Makes a branch at the current commit; it is not checked out.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaGitBranchExistsError} if there is one of that name
   */
  createBranch(path: string, name: string, options?: CallOptions): Promise<void>

  /**
   * Deletes a local branch, merged or not.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaGitBranchNotFoundError} if there is no such branch
   * @throws {DaytonaConflictError} if it is checked out
   */
  deleteBranch(path: string, name: string, options?: CallOptions): Promise<void>

  /**
   * Checks out a branch, or a commit.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaGitBranchNotFoundError} if there is no such branch
   * @throws {DaytonaGitDirtyWorktreeError} if uncommitted changes are in the way
   */
  checkoutBranch(path: string, branch: string, options?: CallOptions): Promise<void>

  /**
   * Clones a repository.
   *
   * @param url              credentials in it are used like the next two, and not stored
   * @param path             the folder to make
   * @param branch           branch or tag to check out instead of the remote's default
   * @param commitId         commit to check out, with a detached `HEAD`
   * @param username         for remotes that ask for one
   * @param password         password or token; given to the remote and stored nowhere
   * @param insecureSkipTls  take any certificate
   * @param depth            only so many commits of the history, at least 1
   * @throws {DaytonaGitAuthFailedError} if the remote does not take the credentials, or wants some
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaGitBranchNotFoundError} if there is no such branch
   * @throws {DaytonaConflictError} if the folder holds something
   * @throws {DaytonaGitTransportFailedError} if the remote is not in reach
   */
  clone(
    url: string,
    path: string,
    branch?: string,
    commitId?: string,
    username?: string,
    password?: string,
    insecureSkipTls?: boolean,
    depth?: number,
    options?: CallOptions,
  ): Promise<void>

  /**
   * Commits what is staged.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaBadRequestError} if nothing is staged, unless `allowEmpty` is set
   * @throws {DaytonaGitMergeConflictError} while there are conflicts to resolve
   */
  commit(
    path: string,
    message: string,
    author: string,
    email: string,
    allowEmpty?: boolean,
    options?: CallOptions,
  ): Promise<GitCommitResponse>

  /**
   * Sends a branch, by default the current one, to a remote, by default `origin`.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaGitBranchNotFoundError} if there is no such branch
   * @throws {DaytonaGitAuthFailedError} if the remote does not take the credentials, or wants some
   * @throws {DaytonaGitPushRejectedError} if the remote has commits that are missing here
   * @throws {DaytonaGitRemoteRejectedError} if the remote refuses
   * @throws {DaytonaGitTransportFailedError} if the remote is not in reach
   */
  push(
    path: string,
    username?: string,
    password?: string,
    branch?: string,
    remote?: string,
    setUpstream?: boolean,
    options?: CallOptions,
  ): Promise<void>

  /**
   * Fetches a branch of a remote, by default the upstream, and merges it into the current one, or as `pull.rebase` and
   * `pull.ff` say.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaGitBranchNotFoundError} if there is no such branch
   * @throws {DaytonaGitAuthFailedError} if the remote does not take the credentials, or wants some
   * @throws {DaytonaGitDirtyWorktreeError} if uncommitted changes are in the way
   * @throws {DaytonaGitMergeConflictError} if the histories conflict; the conflicts are in the files then
   * @throws {DaytonaGitTransportFailedError} if the remote is not in reach
   */
  pull(
    path: string,
    username?: string,
    password?: string,
    branch?: string,
    remote?: string,
    options?: CallOptions,
  ): Promise<void>

  /**
   * What is checked out and what has changed.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   */
  status(path: string, options?: CallOptions): Promise<GitStatus>

  /**
   * Makes a repository, and its folder where that is missing; one that is there stays as it is.
   *
   * @throws {DaytonaFileAccessDeniedError} if the sandbox's user may not
   */
  init(path: string, bare?: boolean, initialBranch?: string, options?: CallOptions): Promise<void>

  /**
   * Goes to another commit (`mode` is `soft`, `mixed`, `hard`, `merge` or `keep`), or takes files out of the index.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaGitBranchNotFoundError} if there is no such revision
   */
  reset(path: string, mode?: string, target?: string, files?: string[], options?: CallOptions): Promise<void>

  /**
   * Takes changes of files back: in the working tree, unless only `staged` is set.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaFileNotFoundError} if git does not know one of them
   */
  restore(
    path: string,
    files: string[],
    staged?: boolean,
    worktree?: boolean,
    source?: string,
    options?: CallOptions,
  ): Promise<void>

  /**
   * Adds a remote. Credentials in its URL are used for the fetch, and not stored.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   * @throws {DaytonaConflictError} if there is one of that name, unless `overwrite` is set
   */
  remoteAdd(
    path: string,
    name: string,
    url: string,
    fetch?: boolean,
    overwrite?: boolean,
    options?: CallOptions,
  ): Promise<void>

  /**
   * The remotes.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   */
  remotes(path: string, options?: CallOptions): Promise<ListRemotesResponse>

  /**
   * The URL of a remote; undefined if there is no such.
   *
   * @throws {DaytonaGitRepoNotFoundError} if there is no repository
   */
  remoteGet(path: string, name: string, options?: CallOptions): Promise<string | undefined>

  /**
   * Sets one setting of git.
   *
   * @param scope  `global`, `local` or `system`; by default `global`
   * @param path   the repository's root folder, for the scope `local`
   */
  setConfig(key: string, value: string, scope?: string, path?: string, options?: CallOptions): Promise<void>

  /**
   * One setting of git; undefined where it is not set.
   *
   * @param scope  `global`, `local` or `system`; by default `global`
   * @param path   the repository's root folder, for the scope `local`
   */
  getConfig(key: string, scope?: string, path?: string, options?: CallOptions): Promise<string | undefined>

  /**
   * Sets who commits.
   *
   * @param scope  `global`, `local` or `system`; by default `global`
   * @param path   the repository's root folder, for the scope `local`
   */
  configureUser(name: string, email: string, scope?: string, path?: string, options?: CallOptions): Promise<void>

  /**
   * Has git keep credentials for a host (by default `github.com`, `https`), readable by everything in the sandbox.
   */
  dangerouslyAuthenticate(
    username: string,
    password: string,
    host?: string,
    protocol?: string,
    options?: CallOptions,
  ): Promise<void>
}
