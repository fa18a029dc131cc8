// The builder of images against the official one: the same calls give the same Dockerfile and copy the same files.
// Calls are generated from a fixed seed. Where the official builder throws, ours has to as well.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startServer } from '../cases/runner.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const home = process.env.OFFICIAL_NODE_MODULES || path.join(here, '../../target/official/node_modules')
const official = createRequire(path.join(path.resolve(home), 'from-here.js'))('@daytona/sdk')
const own = createRequire(import.meta.url)('../../bindings-node')

const ROUNDS = 400
const WORDS = [
  ...['a', '', 'a b', "it's", 'say "x"', '$HOME', 'back\\slash', 'x>=1,<2', 'ünï', '😀', '\uff5e', 'tab\there', '~', '*'],
  ...["it's!", 'C:\\x', 'C:?', 'a:::', '--flag=1', "'", 'a;b', '{x}', '[y]', '#z', 'a=b', 'http://h/p?q=1&r=2', '\u0085', '`'],
]
// Patterns are left out: what they match, the official client does not upload.
const LINES = [
  ...['RUN true', 'COPY a.txt /x', 'COPY a.txt b.txt /x/', 'copy  dir /x', 'COPY --chown=1:1 --link a.txt /x', ''],
  ...['COPY ["a b.txt", "/x"]', 'COPY ["a.txt",', "COPY 'a b.txt' /x", 'COPY --from=0 a.txt /x', 'COPY <<EOF /x\nhello\nEOF'],
  ...['COPY a.txt \\\n  # note\n\n  b.txt \\\n /x', '# COPY no /x', 'COPY none.txt /x', 'COPY ["*.txt", "/x/"]', 'COPY dir/ /x'],
  ...['COPY ./dir/../a.txt /x', 'COPY . /x', 'COPY [ab].txt /x', 'COPY only', 'COPYa b c', '  COPY\ta.txt\t/x', 'COPY {a,b}.txt /x'],
  ...['RUN echo \\', 'COPY [1, 2]', 'COPY a.txt /x # note', 'COPY a\\ b.txt /x', 'COPY "a b.txt" /x'],
]
const OUTSIDE = ['COPY ../x /x', 'COPY /etc/hostname /x', 'COPY dir/../../x /x', 'COPY C:\\x /x', 'COPY out/file /x', 'COPY .. /x']

let seed = 5
function random() {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}
const choice = (list) => list[Math.floor(random() * list.length)]
const some = (pool, most) => Array.from({ length: Math.floor(random() * (most + 1)) }, () => choice(pool))

function pip() {
  const options = {
    findLinks: some(WORDS, 2),
    indexUrl: choice(WORDS),
    extraIndexUrls: some(WORDS, 2),
    pre: random() < 0.5,
    extraOptions: choice(['', ' --no-cache-dir ', '-q -q']),
  }
  return random() < 0.3 ? undefined : Object.fromEntries(Object.entries(options).filter(() => random() < 0.4))
}

function step() {
  const file = choice(['a.txt', './a.txt', 'dir/../a.txt', '~/inner.txt', 'none', 'dir'])
  const folder = choice(['dir', './dir/', 'dir/../dir', '~', '.', 'none', 'a.txt', path.resolve('dir')])
  return choice([
    () => ['pipInstall', choice([some(WORDS, 4), choice(WORDS), [some(WORDS, 2), 'x']]), pip()],
    () => ['pipInstallFromRequirements', choice(['requirements.txt', './requirements.txt', 'dir', 'no']), pip()],
    () => [
      'pipInstallFromPyproject',
      choice(['pyproject.toml', 'bad.toml', 'no']),
      choice([undefined, { optionalDependencies: ['dev'] }, { optionalDependencies: ['dev', 'doc', 'none'], pre: true }]),
    ],
    () => ['addLocalFile', file, choice(['/x', '/y/', '/ü "q"'])],
    () => ['addLocalDir', folder, choice(['/x', '/y/'])],
    () => ['runCommands', ...some([...WORDS, some(WORDS, 3)], 3)],
    () => ['env', { K1: choice(WORDS), K2: choice(WORDS) }],
    () => ['workdir', choice(WORDS)],
    () => [choice(['entrypoint', 'cmd']), some(WORDS, 3)],
    () => ['dockerfileCommands', some(LINES, 4)],
    () => [
      'dockerfileCommands',
      some([...LINES, ...OUTSIDE], 3),
      choice([process.cwd(), 'none', 'a.txt', path.resolve('dir')]),
      { strictContext: true },
    ],
    () => ['dockerfileCommands', some(LINES, 3), choice([process.cwd(), path.resolve('dir')]), { strictContext: false }],
  ])()
}

/** Takes a step; which error it threw, if it did. */
function outcome({ DaytonaError, DaytonaNotFoundError }, image, [name, ...args]) {
  try {
    image[name](...args)
    return ''
  } catch (error) {
    if (error instanceof DaytonaNotFoundError) return 'not found'
    return error instanceof DaytonaError ? 'refused' : String(error)
  }
}

/** The local files, and their names in the build as its root sees them. */
function copied(image) {
  const rooted = (name) => path.posix.join('/', name).replace(/^\/|\/$/g, '')
  return image.contextList.map((one) => [path.resolve(one.sourcePath), rooted(one.archivePath)].join(' as ')).sort()
}

const before_ = process.cwd()
const homeBefore = process.env.HOME
let folder
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'images-'))
  const work = path.join(folder, 'work')
  fs.mkdirSync(path.join(work, 'dir'), { recursive: true })
  for (const name of ['a.txt', 'b.txt', 'a b.txt', '.hidden.txt', 'dir/inner.txt', 'dir/.dot', 'requirements.txt']) {
    fs.writeFileSync(path.join(work, name), name)
  }
  fs.symlinkSync(folder, path.join(work, 'out'))
  fs.writeFileSync(path.join(folder, 'file'), 'outside')
  fs.writeFileSync(
    path.join(work, 'pyproject.toml'),
    '[project]\ndependencies = ["x>=1", "y[z]"]\n[project.optional-dependencies]\ndev = ["w"]\ndoc = ["v"]\n',
  )
  fs.writeFileSync(path.join(work, 'bad.toml'), '[project]\nname = "x"\n')
  fs.writeFileSync(path.join(work, 'Dockerfile'), 'FROM x\r\nCOPY a.txt /x\r\nCOPY dir /y\n')
  fs.writeFileSync(path.join(work, 'dir/Dockerfile'), 'FROM x\nCOPY inner.txt /x\n')
  process.env.HOME = path.join(work, 'dir')
  process.chdir(work)
})
after(() => {
  process.chdir(before_)
  process.env.HOME = homeBefore
  fs.rmSync(folder, { recursive: true })
})

test('the same calls give the same Dockerfile', () => {
  const taken = new Set()
  for (let round = 0; round < ROUNDS; round++) {
    const [theirs, ours] = [official.Image.base('x'), own.Image.base('x')]
    const steps = []
    for (let count = Math.ceil(random() * 5); count > 0; count--) {
      const next = step()
      steps.push(next)
      const about = JSON.stringify({ round, steps })
      const expected = outcome(official, theirs, next)
      assert.equal(outcome(own, ours, next), expected, about)
      if (expected) break
      taken.add(next[0])
      assert.equal(ours.dockerfile, theirs.dockerfile, about)
      assert.deepEqual(copied(ours), copied(theirs), about)
    }
  }
  assert.equal(taken.size, 11)
})

test('slim images', () => {
  for (const version of [undefined, '3.9', '3.10', '3.11', '3.12', '3.13']) {
    assert.equal(own.Image.debianSlim(version).dockerfile, official.Image.debianSlim(version).dockerfile)
  }
  for (const version of ['3.8', '3', '3.12.1']) {
    assert.throws(() => official.Image.debianSlim(version))
    assert.throws(() => own.Image.debianSlim(version), own.DaytonaInvalidArgumentError)
  }
})

test('Dockerfiles', () => {
  for (const file of ['Dockerfile', './Dockerfile', 'dir/Dockerfile', '~/Dockerfile']) {
    for (const strictContext of [true, false]) {
      const [theirs, ours] = [official, own].map(({ Image }) => Image.fromDockerfile(file, { strictContext }))
      assert.equal(ours.dockerfile, theirs.dockerfile)
      assert.deepEqual(copied(ours), copied(theirs))
    }
  }
  assert.throws(() => own.Image.fromDockerfile('none'), own.DaytonaNotFoundError)
  assert.throws(() => own.Image.fromDockerfile('dir'), own.DaytonaInvalidArgumentError)
})

test('what lies outside has a name in the build, which the official client cuts off', () => {
  const image = own.Image.base('x').dockerfileCommands(['COPY ../file /etc/hostname /x/'], '~/..')
  assert.deepEqual(copied(image), ['/etc/hostname as etc/hostname', `${path.join(folder, 'file')} as file`])
})

test('patterns of COPY are copied, which the official client forgets', () => {
  const image = own.Image.base('x').dockerfileCommands(['COPY *.txt dir/*.txt /x/'], process.cwd())
  assert.deepEqual(
    image.contextList.map((one) => one.archivePath).sort(),
    ['.hidden.txt', 'a b.txt', 'a.txt', 'b.txt', 'dir/inner.txt', 'requirements.txt'],
  )
})

test('either client uploads what an image copies', async (t) => {
  process.env.DAYTONA_NATIVE_IMAGE_FALLBACK = 'host'
  const server = await startServer().finally(() => delete process.env.DAYTONA_NATIVE_IMAGE_FALLBACK)
  try {
    if (!server.holds.has('isolation')) return t.skip('sandboxes have no file system of their own')
    // More than one part.
    const data = Buffer.from(Array.from({ length: 6 << 20 }, () => random() * 256))
    fs.mkdirSync('uploaded/sub', { recursive: true })
    fs.writeFileSync('uploaded/sub/data', data)
    for (const { Daytona, Image } of [official, own]) {
      const daytona = new Daytona({ apiUrl: server.url, apiKey: server.apiKey })
      const image = Image.base('debian:12').addLocalDir('uploaded', '/copied').addLocalFile('a.txt', '/copied/')
      for (let time = 0; time < 2; time++) {
        const sandbox = await daytona.create({ image }, { timeout: 60 })
        const { result } = await sandbox.process.executeCommand('cat /copied/a.txt; md5sum </copied/sub/data')
        assert.equal(result, `a.txt${createHash('md5').update(data).digest('hex')}  -\n`)
        await sandbox.delete()
      }
    }
    return undefined
  } finally {
    await server.close()
  }
})
