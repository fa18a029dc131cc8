/** A local file or directory that an image copies. */
export interface Context {
  /** Where it is. */
  sourcePath: string
  /** What the Dockerfile calls it. */
  archivePath: string
  /** The directory whose `.dockerignore` holds for it; its own if there is none. */
  contextDir?: string
}

/** What is said to pip. */
export interface PipInstallOptions {
  /** Where to look for archives. */
  findLinks?: string[]
  /** Index in place of the usual one. */
  indexUrl?: string
  /** More indexes. */
  extraIndexUrls?: string[]
  /** Take versions that are not final, too. */
  pre?: boolean
  /** More options, as the shell is to read them. */
  extraOptions?: string
}

/** What is said to pip about a project. */
export interface PyprojectOptions extends PipInstallOptions {
  /** Groups of optional dependencies to install, too. */
  optionalDependencies?: string[]
}

/** What a Dockerfile may copy. */
export interface ContextOptions {
  /** Refuse what is outside of the context's directory. */
  strictContext?: boolean
}

/**
 * An image to be built for a sandbox or a snapshot. Every method adds to it and returns it; local files are looked
 * for at once and read when something is created from the image.
 *
 * @example
 * const image = Image.debianSlim('3.12').pipInstall(['requests']).workdir('/home/daytona')
 * const sandbox = await daytona.create({ image }, { timeout: 0, onSnapshotCreateLogs: console.log })
 */
export declare class Image {
  private constructor()

  /** Begins with an image of a registry: `debian:12.9`. */
  static base(image: string): Image

  /**
   * Begins with a slim Debian that has Python, pip and compilers.
   *
   * @param pythonVersion  `3.9` to `3.13`, the default
   * @throws {DaytonaInvalidArgumentError} if there is no image for that version
   */
  static debianSlim(pythonVersion?: '3.9' | '3.10' | '3.11' | '3.12' | '3.13'): Image

  /**
   * Begins with a Dockerfile; what it copies is taken from its directory.
   *
   * @throws {DaytonaNotFoundError} if there is no such file
   * @throws {DaytonaInvalidArgumentError} if it copies from outside of a strict context
   */
  static fromDockerfile(path: string, options?: ContextOptions): Image

  /** The text of the Dockerfile. */
  get dockerfile(): string

  /** The local files that it copies. */
  get contextList(): Context[]

  /** Installs packages with pip. */
  pipInstall(packages: string | string[], options?: PipInstallOptions): Image

  /**
   * Installs what a local requirements file names.
   *
   * @throws {DaytonaNotFoundError} if there is no such file
   */
  pipInstallFromRequirements(requirementsTxt: string, options?: PipInstallOptions): Image

  /**
   * Installs the dependencies that a local `pyproject.toml` declares.
   *
   * @throws {DaytonaNotFoundError} if there is no such file
   * @throws {DaytonaInvalidArgumentError} if it declares none
   */
  pipInstallFromPyproject(pyprojectToml: string, options?: PyprojectOptions): Image

  /**
   * Copies a local file into the image.
   *
   * @param remotePath  where it is to be; its name is added if this ends with a slash
   * @throws {DaytonaNotFoundError} if there is no such file
   */
  addLocalFile(localPath: string, remotePath: string): Image

  /**
   * Copies a local directory into the image, without what its `.dockerignore` names.
   *
   * @throws {DaytonaNotFoundError} if there is no such directory
   */
  addLocalDir(localPath: string, remotePath: string): Image

  /** Runs commands while the image is built: for the shell, or lists of words. */
  runCommands(...commands: (string | string[])[]): Image

  /**
   * Sets environment variables.
   *
   * @throws {DaytonaInvalidArgumentError} for a name that cannot be one, or a value that is no string
   */
  env(envVars: Record<string, string>): Image

  /** Sets the working directory. */
  workdir(dirPath: string): Image

  /** Sets the entrypoint: the program and its arguments. */
  entrypoint(entrypointCommands: string[]): Image

  /** Sets the default command: the program and its arguments. */
  cmd(cmd: string[]): Image

  /**
   * Adds lines of a Dockerfile; what they copy is taken from a local directory.
   *
   * @param contextDir  the directory; the current one if there is none
   * @throws {DaytonaNotFoundError} if there is no such directory
   * @throws {DaytonaInvalidArgumentError} if something is copied from outside of a strict context
   */
  dockerfileCommands(dockerfileCommands: string[], contextDir?: string, options?: ContextOptions): Image
}
