// Runs the behaviour cases of this folder with a Node client: any package that has the official names.
// README.md describes the format of the cases.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import util from 'node:util'

const HERE = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname)
const LIMIT = 60 // seconds that one step may take

/** Every case, `{ id, file, case }`; of the official clients those that they can run. */
export function load({ official = false } = {}) {
  const names = fs.readdirSync(HERE).filter((name) => name.endsWith('.json')).sort()
  return names.flatMap((name) => {
    const file = JSON.parse(fs.readFileSync(path.join(HERE, name), 'utf8'))
    const cases = file.cases.filter((one) => !official || !(file.only || one.only))
    return cases.map((one) => ({ id: `${path.basename(name, '.json')}/${one.name}`, file, case: one }))
  })
}

/** Starts one local server in a data directory of its own. */
export async function startServer() {
  const binary = process.env.DAYTONA_NATIVE_BINARY || path.join(HERE, '../../bindings-node/bin/daytona-native')
  if (!fs.existsSync(binary)) throw new Error(`${binary} is not there: run make build, or set DAYTONA_NATIVE_BINARY`)
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'daytona-cases-'))
  const log = fs.openSync(path.join(directory, 'log'), 'w')
  const runtime = process.env.DAYTONA_NATIVE_TEST_RUNTIME || 'auto'
  const args = ['serve', '--port', '0', '--json', '--data-dir', path.join(directory, 'data'), '--runtime', runtime]
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', log] })
  fs.closeSync(log)
  const lines = readline.createInterface({ input: child.stdout })
  const ended = once(child, 'exit')
  const first = await Promise.race([once(lines, 'line'), ended.then(() => undefined)])
  if (!first) throw new Error(`${binary} did not start: ${fs.readFileSync(path.join(directory, 'log'))}`)
  const { url, apiKey } = JSON.parse(first[0])
  const close = async () => {
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 30_000)
    await ended
    clearTimeout(late)
    await fs.promises.rm(directory, { recursive: true, force: true })
  }
  const answer = await fetch(`${url}/config`, { headers: { authorization: `Bearer ${apiKey}` } })
  const { limits, isolated, kind } = (await answer.json()).runtime
  const holds = new Set(Object.keys(limits).filter((name) => limits[name].state === 'enforced'))
  if (isolated) holds.add('isolation')
  holds.add(kind)
  if (!process.env.DAYTONA_NATIVE_TEST_OFFLINE) holds.add('internet')
  return { url, apiKey, holds, close }
}

const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase())
const isPlain = (value) => value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype
const keysToCamel = (value) => Object.fromEntries(Object.entries(value).map(([name, one]) => [camel(name), one]))

const createParams = (params, session) => ({
  ...keysToCamel(params.volumes ? { ...params, volumes: params.volumes.map(keysToCamel) } : params),
  ...(params.image && { image: imageOf(params.image, session) }),
})

/** An image by its name, or by the calls that build it. */
function imageOf(given, session) {
  if (typeof given === 'string') return given
  return given.reduce((image, [name, ...args]) => image[camel(name)](...args), session.module.Image)
}

/** The value that `{"$text": ...}` and the like stand for. */
function content(spec) {
  if ('$text' in spec) return Buffer.from(spec.$text)
  if ('$bytes' in spec) return Buffer.from(spec.$bytes, 'hex')
  if ('$pattern' in spec) return Buffer.alloc(spec.$pattern).map((_, i) => i * 7 + (i >> 8) * 13)
  if ('$repeat' in spec) return (typeof spec.$repeat[0] === 'string' ? spec.$repeat[0] : content(spec.$repeat[0])).repeat(spec.$repeat[1])
  if ('$lines' in spec) return spec.$lines.join('\n')
  if ('$concat' in spec) return spec.$concat.map((part) => (typeof part === 'string' ? part : content(part))).join('')
  return undefined
}

function member(value, name) {
  if (value === null || value === undefined) return undefined
  return Object.hasOwn(value, name) ? value[name] : value[camel(name)]
}

const field = (value, dotted) => dotted.split('.').filter(Boolean).reduce(member, value)

/** Puts values for `${name}` and, unless they are kept for comparison, for contents. */
function fill(spec, names, keep = false) {
  if (typeof spec === 'string') {
    const whole = /^\$\{(\w+)\}$/.exec(spec)
    if (whole && whole[1] in names) return names[whole[1]]
    return spec.replace(/\$\{([a-z]\w*(?:\.\w+)*)\}/g, (all, dotted) => {
      const [root, ...rest] = dotted.split('.')
      return root in names ? String(field(names[root], rest.join('.'))) : all
    })
  }
  if (Array.isArray(spec)) return spec.map((one) => fill(one, names, keep))
  if (!isPlain(spec)) return spec
  const filled = Object.fromEntries(Object.entries(spec).map(([name, one]) => [fill(name, names), fill(one, names, keep)]))
  return (keep ? undefined : content(filled)) ?? filled
}

const show = (value) => util.inspect(value, { depth: 2, breakLength: Infinity, maxStringLength: 400 }).slice(0, 600)

/** Why `got` is not what is wanted, or `undefined`. */
export function mismatch(want, got, at = 'result') {
  const fail = () => `${at} is ${show(got)}, wanted ${show(want)}`
  const check = (holds) => (holds ? undefined : fail())
  const first = (problems) => problems.find((problem) => problem !== undefined)
  if (Array.isArray(want)) {
    if (!Array.isArray(got) || got.length !== want.length) return fail()
    return first(want.map((one, i) => mismatch(one, got[i], `${at}.${i}`)))
  }
  if (!isPlain(want)) return check(got === want)
  const literal = content(want)
  if (typeof literal === 'string') return check(got === literal)
  if (literal) return check(got instanceof Uint8Array && literal.equals(got))
  if ('$min' in want || '$max' in want) return check(got >= (want.$min ?? -Infinity) && got <= (want.$max ?? Infinity))
  const [operator] = Object.keys(want)
  if (!operator?.startsWith('$')) {
    return first(Object.entries(want).map(([name, one]) => mismatch(one, member(got, name), `${at}.${name}`)))
  }
  const operand = want[operator]
  switch (operator) {
    case '$contains': return check(typeof got === 'string' && got.includes(operand))
    case '$regex': return check(got !== undefined && got !== null && new RegExp(operand).test(got instanceof Date ? got.toISOString() : String(got)))
    case '$length': return check(got?.length === operand)
    case '$any': return check(got.some((one) => mismatch(operand, one) === undefined))
    case '$absent': return check(got === undefined || got === null)
    case '$not': return check(mismatch(operand, got) !== undefined)
    case '$all': return first(operand.map((one) => mismatch(one, got, at)))
    case '$set': {
      const left = [...got]
      for (const one of operand) {
        const found = left.findIndex((item) => mismatch(one, item) === undefined)
        if (found < 0) return fail()
        left.splice(found, 1)
      }
      return check(left.length === 0)
    }
    default: throw new Error(`unknown operator ${operator}`)
  }
}

const collect = async (found) => {
  const all = []
  for await (const one of found) all.push(one)
  return all
}

const http = async (url, options) => {
  const answer = await fetch(url, options)
  return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) }
}

async function followed(follow) {
  let [stdout, stderr] = ['', '']
  await follow((text) => { stdout += text }, (text) => { stderr += text })
  return { stdout, stderr }
}

/** Takes a stream to its end, answering what it shows. */
async function streamed(stream, { stdin, until, then, digest }) {
  const text = { stdout: '', stderr: '' }
  const data = []
  const answer = () => 'stdin' in then ? stream.writeStdin(then.stdin) : then.kill ? stream.kill() : stream.signal(then.signal)
  let answered = until === undefined
  const write = async () => {
    for (const one of stdin) await stream.writeStdin(one)
    await stream.closeStdin()
  }
  try {
    if (until === '') await answer()
    const written = stdin && write()
    for await (const chunk of stream) {
      text[chunk.stream] += chunk.text
      data.push(chunk.data)
      if (!answered && text.stdout.includes(until)) {
        answered = true
        await answer()
      }
    }
    await written
    const exitCode = await stream.wait()
    if (!digest) return { ...text, data: Buffer.concat(data), exitCode }
    const line = text.stdout.indexOf('\n')
    const hash = createHash('sha256').update(text.stdout.slice(line + 1)).digest('hex')
    return { exitCode, same: text.stdout.slice(0, line).split(' ')[0] === hash }
  } finally {
    stream.close()
  }
}

/** A pseudo-terminal that is driven by what it shows. */
class Terminal {
  #shown = Buffer.alloc(0)
  #script = []
  #actions = Promise.resolve()

  async opened(open) {
    this.handle = await open((data) => this.#onData(data))
    return this
  }

  async run(script) {
    await this.handle.waitForConnection()
    this.#script = [...script]
    this.#onData(Buffer.alloc(0))
    const result = await this.handle.wait()
    await this.#actions
    return { output: this.#shown.toString(), exitCode: result.exitCode, error: result.error || undefined }
  }

  #onData(data) {
    this.#shown = Buffer.concat([this.#shown, data])
    while (this.#script.length > 0 && this.#shown.includes(this.#script[0].until ?? '')) {
      const action = this.#script.shift()
      this.#actions = this.#actions.then(() => this.#act(action))
      // Told by `run`, unless the terminal's end is.
      this.#actions.catch(() => {})
    }
  }

  #act(action) {
    if ('send' in action) return this.handle.sendInput(action.send)
    if (action.send_all_bytes) return this.handle.sendInput(Uint8Array.from({ length: 256 }, (_, i) => i))
    if (action.resize) return this.handle.resize(...action.resize)
    return action.kill ? this.handle.kill() : this.handle.disconnect()
  }
}

/** The calls by their canonical names: `(target, arguments, session)`. */
const CALLS = {
  'look': (s) => s,
  'client.new': (_, a, session) => session.newClient(a.api_key),
  'daytona.create': (s, a, session) => session.clientOf(s).create(a.params && createParams(a.params, session), 'timeout' in a ? { timeout: a.timeout } : undefined),
  'daytona.get': (s, a, session) => session.clientOf(s).get(a.sandbox_id_or_name),
  'daytona.list': (s, a, session) => collect(session.clientOf(s).list(a.query && listQuery(a.query))),
  'daytona.start': (s, a, session) => session.client.start(a.sandbox),
  'daytona.stop': (s, a, session) => session.client.stop(a.sandbox),
  'daytona.delete': (s, a, session) => session.client.delete(a.sandbox),
  'sandbox.refresh_data': (s) => s.refreshData(),
  'sandbox.get_work_dir': (s) => s.getWorkDir(),
  'sandbox.get_user_home_dir': (s) => s.getUserHomeDir(),
  'sandbox.start': (s, a) => s.start(a.timeout),
  'sandbox.stop': (s, a) => s.stop(a.timeout, a.force),
  'sandbox.delete': (s, a) => s.delete(a.timeout, a.wait),
  'sandbox.pause': (s, a) => s.pause(a.timeout),
  'sandbox.archive': (s) => s.archive(),
  'sandbox.recover': (s, a) => s.recover(a.timeout, a.accept_loss === undefined ? undefined : { acceptLoss: a.accept_loss }),
  'sandbox.resize': (s, a) => s.resize(a.resources, a.timeout),
  'sandbox.wait_for_resize_complete': (s, a) => s.waitForResizeComplete(a.timeout),
  'sandbox.fork': (s, a) => s.fork(a.name && { name: a.name }, a.timeout),
  'sandbox.create_snapshot': (s, a) => s.createSnapshot(a.name, a.timeout),
  'snapshot.list': (s, a, session) => session.clientOf(s).snapshot.list(keysToCamel(a)),
  'snapshot.create': (s, a, session) => session.clientOf(s).snapshot.create({ name: a.name, image: imageOf(a.image, session), entrypoint: a.entrypoint }, { timeout: a.timeout }),
  'snapshot.deactivate': (s, a, session) => session.clientOf(s).snapshot.deactivate(a.snapshot),
  'snapshot.get': (s, a, session) => session.clientOf(s).snapshot.get(a.name),
  'snapshot.delete': (s, a, session) => session.clientOf(s).snapshot.delete(a.snapshot),
  'snapshot.activate': (s, a, session) => session.clientOf(s).snapshot.activate(a.snapshot),
  'sandbox.set_auto_pause_interval': (s, a) => s.setAutoPauseInterval(a.interval),
  'sandbox.wait_for_sandbox_start': (s, a) => s.waitUntilStarted(a.timeout),
  'sandbox.wait_for_sandbox_stop': (s, a) => s.waitUntilStopped(a.timeout),
  'sandbox.set_labels': (s, a) => s.setLabels(a.labels),
  'sandbox.set_autostop_interval': (s, a) => s.setAutostopInterval(a.interval),
  'sandbox.set_auto_archive_interval': (s, a) => s.setAutoArchiveInterval(a.interval),
  'sandbox.set_auto_delete_interval': (s, a) => s.setAutoDeleteInterval(a.interval),
  'sandbox.set_ttl': (s, a) => s.setTtl(a.ttl_minutes),
  'sandbox.update_network_settings': (s, a) =>
    s.updateNetworkSettings({
      networkBlockAll: a.network_block_all,
      networkAllowList: a.network_allow_list,
      domainAllowList: a.domain_allow_list,
    }),
  'sandbox.set_public': (s, a) => s.setPublic(a.public),
  'sandbox.refresh_activity': (s) => s.refreshActivity(),
  'sandbox.download_url': (s, a) => s.downloadUrl(a.path, a.ttl_seconds),
  'sandbox.upload_url': (s, a) => s.uploadUrl(a.path, a.ttl_seconds),
  'sandbox.rotate_signing_key': (s) => s.rotateSigningKey(),
  'sandbox.update_env': (s, a) => s.updateEnv(a.env, a.unset && { unset: a.unset }),
  'sandbox.update_secrets': (s, a) => s.updateSecrets(a.secrets),
  'sandbox.get_metrics_latest': (s) => s.getMetricsLatest(),
  'sandbox.get_metrics': (s, a) => s.getMetrics(a.start && new Date(a.start), a.end && new Date(a.end)),
  'volume.list': (_, a, session) => session.client.volume.list(),
  'volume.get': (_, a, session) => session.client.volume.get(a.name, a.create),
  'volume.create': (_, a, session) => session.client.volume.create(a.name),
  'volume.delete': (_, a, session) => session.client.volume.delete(a.volume),
  'secret.list': (_, a, session) => session.client.secret.list(a),
  'secret.get': (_, a, session) => session.client.secret.get(a.secret_id),
  'secret.create': (_, a, session) => session.client.secret.create(a),
  'secret.update': (_, { secret_id, ...params }, session) => session.client.secret.update(secret_id, params),
  'secret.delete': (_, a, session) => session.client.secret.delete(a.secret_id),
  'warm_pool.list': (_, a, session) => session.client.warmPool.list(),
  'warm_pool.create': (_, a, session) => session.client.warmPool.create(a),
  'warm_pool.update': (_, a, session) => session.client.warmPool.update(a.warm_pool_id, { pool: a.pool }),
  'warm_pool.delete': (_, a, session) => session.client.warmPool.delete(a.warm_pool_id),
  'api.request': (s, a, session) => session.clientOf(s).api.request(a.method, a.path, a.query, a.body),
  'api.list_api_keys': (s, a, session) => session.clientOf(s).api.listApiKeys(),
  'api.current_api_key': (s, a, session) => session.clientOf(s).api.currentApiKey(),
  'api.get_api_key': (s, a, session) => session.clientOf(s).api.getApiKey(a.name),
  'api.create_api_key': (s, a, session) => session.clientOf(s).api.createApiKey({ name: a.name, permissions: a.permissions, expiresAt: a.expires_at && new Date(a.expires_at) }),
  'api.delete_api_key': (s, a, session) => session.clientOf(s).api.deleteApiKey(a.name),
  'api.list_organizations': (s, a, session) => session.clientOf(s).api.listOrganizations(),
  'api.get_organization': (s, a, session) => session.clientOf(s).api.getOrganization(a.organization_id),
  'api.organization_usage': (s, a, session) => session.clientOf(s).api.organizationUsage(a.organization_id),
  'api.set_default_region': (s, a, session) => session.clientOf(s).api.setDefaultRegion(a.organization_id, a.region_id),
  'api.list_regions': (s, a, session) => session.clientOf(s).api.listRegions(),
  'api.get_region': (s, a, session) => session.clientOf(s).api.getRegion(a.region_id),
  'api.list_registries': (s, a, session) => session.clientOf(s).api.listRegistries(),
  'api.webhook_status': (s, a, session) => session.clientOf(s).api.webhookStatus(a.organization_id),
  'sandbox.get_preview_link': (s, a) => s.getPreviewLink(Number(a.port)),
  'sandbox.create_signed_preview_url': (s, a) => s.getSignedPreviewUrl(Number(a.port), a.expires_in_seconds),
  'sandbox.expire_signed_preview_url': (s, a) => s.expireSignedPreviewUrl(Number(a.port), a.token),
  'sandbox.create_ssh_access': (s, a) => s.createSshAccess(a.expires_in_minutes),
  'sandbox.revoke_ssh_access': (s, a) => s.revokeSshAccess(a.token),
  'sandbox.validate_ssh_access': (s, a) => s.validateSshAccess(a.token),
  'process.exec': (s, a) => s.process.executeCommand(a.command, a.cwd, a.env, a.timeout),
  'process.code_run': (s, a) => s.process.codeRun(a.code, a.argv || a.env ? { argv: a.argv, env: a.env } : undefined, a.timeout),
  'process.create_session': (s, a) => s.process.createSession(a.session_id),
  'process.get_session': (s, a) => s.process.getSession(a.session_id),
  'process.list_session_ids': async (s) => (await s.process.listSessions()).map((one) => one.sessionId),
  'process.delete_session': (s, a) => s.process.deleteSession(a.session_id),
  'process.execute_session_command': (s, { session_id, timeout, ...request }) => s.process.executeSessionCommand(session_id, keysToCamel(request), timeout),
  'process.get_session_command': (s, a) => s.process.getSessionCommand(a.session_id, a.command_id),
  'process.get_session_command_logs': (s, a) => s.process.getSessionCommandLogs(a.session_id, a.command_id),
  'process.send_session_command_input': (s, a) => s.process.sendSessionCommandInput(a.session_id, a.command_id, a.data),
  'process.follow_logs': (s, a) => followed((out, err) => s.process.getSessionCommandLogs(a.session_id, a.command_id, out, err)),
  'process.get_entrypoint_session': (s) => s.process.getEntrypointSession(),
  'process.get_entrypoint_logs': (s) => s.process.getEntrypointLogs(),
  'process.follow_entrypoint_logs': (s) => followed((out, err) => s.process.getEntrypointLogs(out, err)),
  'process.stream': async (s, a) => streamed(await s.process.executeCommandStream(a.command, a.cwd, a.env, a.timeout), a),
  'terminal.new': (s, a, session) => new session.module.TerminalBackend(a.config, { daytona: session.clientOf(s) }),
  'terminal.config': (t) => t.config,
  'terminal.images': (_, a, session) => session.module.TerminalBackend.images(),
  'terminal.run': (t, { command, ...options }) => t.run(command, options),
  'terminal.stream': async (t, a) => streamed(await t.exec(a.command, { cwd: a.cwd, env: a.env, timeout: a.timeout }), a),
  'terminal.close': (t) => t.close(),
  'terminal.destroy': (t) => t.destroy(),
  'provider.new': (_, a, session) => new session.module.SandboxProvider(a.pool, { apiKey: a.api_key }),
  'provider.pool': (p) => p.pool,
  'provider.profile': (_, a, session) => session.module.SandboxProvider.profile(),
  'provider.provision': (p, a) => p.provision(a.spec),
  'provider.status': (p, a) => p.status(a.handle),
  'provider.terminate': (p, a) => p.terminate(a.handle, { force: a.force }),
  'provider.pause': (p, a) => p.pause(a.handle),
  'provider.resume': (p, a) => p.resume(a.handle),
  'provider.capacity': (p) => p.capacity(),
  'provider.capabilities': (p) => p.capabilities(),
  'provider.follow_logs': async (p, a) => {
    const taken = { stdout: '', stderr: '' }
    for await (const { stream, text } of await p.streamLogs(a.handle)) taken[stream] += text
    return taken
  },
  'process.list_pty_ids': async (s) => (await s.process.listPtySessions()).map((one) => one.id),
  'process.get_pty_session_info': (s, a) => s.process.getPtySessionInfo(a.session_id),
  'process.kill_pty_session': (s, a) => s.process.killPtySession(a.session_id),
  'process.resize_pty_session': (s, a) => s.process.resizePtySession(a.session_id, a.cols, a.rows),
  'pty.create': (s, a) => new Terminal().opened((onData) => s.process.createPty({ ...a, onData })),
  'pty.connect': (s, { session_id, ...options }) => new Terminal().opened((onData) => s.process.connectPty(session_id, { ...options, onData })),
  'pty.run': (terminal, a) => terminal.run(a.script),
  'code_interpreter.run_code': async (s, { code, ...options }) => {
    const seen = { seen_stdout: '', seen_stderr: '', seen_error: '' }
    const result = await s.codeInterpreter.runCode(code, {
      ...options,
      onStdout: (message) => { seen.seen_stdout += message.output },
      onStderr: (message) => { seen.seen_stderr += message.output },
      onError: (error) => { seen.seen_error += error.name },
    })
    return { ...result, ...seen }
  },
  'code_interpreter.create_context': (s, a) => s.codeInterpreter.createContext(a.cwd),
  'code_interpreter.list_context_ids': async (s) => (await s.codeInterpreter.listContexts()).map((one) => one.id),
  'code_interpreter.delete_context': (s, a) => s.codeInterpreter.deleteContext(a.context),
  'git.add': (s, a) => s.git.add(a.path, a.files),
  'git.branches': (s, a) => s.git.branches(a.path),
  'git.clone': (s, a) => s.git.clone(a.url, a.path, a.branch, a.commit_id, a.username, a.password, a.insecure_skip_tls, a.depth),
  'git.commit': (s, a) => s.git.commit(a.path, a.message, a.author, a.email, a.allow_empty),
  'git.push': (s, a) => s.git.push(a.path, a.username, a.password, a.branch, a.remote, a.set_upstream),
  'git.pull': (s, a) => s.git.pull(a.path, a.username, a.password, a.branch, a.remote),
  'git.status': (s, a) => s.git.status(a.path),
  'git.checkout_branch': (s, a) => s.git.checkoutBranch(a.path, a.branch),
  'git.create_branch': (s, a) => s.git.createBranch(a.path, a.name),
  'git.delete_branch': (s, a) => s.git.deleteBranch(a.path, a.name),
  'git.init': (s, a) => s.git.init(a.path, a.bare, a.initial_branch),
  'git.reset': (s, a) => s.git.reset(a.path, a.mode, a.target, a.files),
  'git.restore': (s, a) => s.git.restore(a.path, a.files, a.staged, a.worktree, a.source),
  'git.remote_add': (s, a) => s.git.remoteAdd(a.path, a.name, a.url, a.fetch, a.overwrite),
  'git.remotes': (s, a) => s.git.remotes(a.path),
  'git.remote_get': (s, a) => s.git.remoteGet(a.path, a.name),
  'git.set_config': (s, a) => s.git.setConfig(a.key, a.value, a.scope, a.path),
  'git.get_config': (s, a) => s.git.getConfig(a.key, a.scope, a.path),
  'git.configure_user': (s, a) => s.git.configureUser(a.name, a.email, a.scope, a.path),
  'git.dangerously_authenticate': (s, a) => s.git.dangerouslyAuthenticate(a.username, a.password, a.host, a.protocol),
  'sandbox.create_lsp_server': (s, a) => s.createLspServer(a.language_id, a.path_to_project),
  'lsp.start': (server) => server.start(),
  'lsp.stop': (server) => server.stop(),
  'lsp.did_open': (server, a) => server.didOpen(a.path),
  'lsp.did_close': (server, a) => server.didClose(a.path),
  'lsp.document_symbols': (server, a) => server.documentSymbols(a.path),
  'lsp.sandbox_symbols': (server, a) => server.sandboxSymbols(a.query),
  'lsp.completions': (server, a) => server.completions(a.path, { line: a.line, character: a.character }),
  'fs.create_folder': (s, a) => s.fs.createFolder(a.path, a.mode),
  'fs.delete_file': (s, a) => s.fs.deleteFile(a.path, a.recursive),
  'fs.get_file_info': (s, a) => s.fs.getFileDetails(a.path),
  'fs.list_files': (s, a) => s.fs.listFiles(a.path, 'depth' in a ? { depth: a.depth } : undefined),
  'fs.move_files': (s, a) => s.fs.moveFiles(a.source, a.destination),
  'fs.set_file_permissions': (s, a) => s.fs.setFilePermissions(a.path, { mode: a.mode, owner: a.owner, group: a.group }),
  'fs.search_files': (s, a) => s.fs.searchFiles(a.path, a.pattern),
  'fs.find_files': (s, a) => s.fs.findFiles(a.path, a.pattern),
  'fs.replace_in_files': (s, a) => s.fs.replaceInFiles(a.files, a.pattern, a.new_value),
  'fs.upload_file': (s, a) => s.fs.uploadFile(a.source, a.destination, a.timeout),
  'fs.upload_files': (s, a) => s.fs.uploadFiles(a.files),
  'fs.download_file': (s, a) => s.fs.downloadFile(...[a.remote_path, a.local_path, a.timeout].filter((one) => one !== undefined)),
  'fs.download_files': (s, a) => s.fs.downloadFiles(a.files),
  'fs.upload_file_stream': async (s, a) => {
    let sent = 0
    await s.fs.uploadFileStream(a.source, a.remote_path, { onProgress: (progress) => { sent = progress.bytesSent } })
    return { sent }
  },
  'fs.download_file_stream': async (s, a) => {
    let last = { bytesReceived: 0 }
    const stream = await s.fs.downloadFileStream(a.remote_path, { onProgress: (progress) => { last = progress } })
    return { content: Buffer.concat(await collect(stream)), received: last.bytesReceived, total: last.totalBytes }
  },
  'http.get': (_, a) => http(a.url, { headers: a.headers }),
  'http.post_file': (_, a) => {
    const body = new FormData()
    body.append('file', new Blob([a.content]), 'f')
    return http(a.url, { method: 'POST', body })
  },
  'host.kill': (_, a) => killAbove(a.marker, a.up),
  'local.write': (_, a) => fs.writeFileSync(a.path, a.content),
  'local.read': (_, a) => fs.readFileSync(a.path),
  'local.list': (_, a) => fs.readdirSync(a.path).sort(),
}

const parentOf = (pid) => fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1).split(' ')[1]

/** The processes with this text on their command line, each with its parent. */
function processes(marker) {
  const found = new Map()
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(marker)) found.set(pid, parentOf(pid))
    } catch {
      // It has ended.
    }
  }
  return found
}

/** Kills the process so many steps above the topmost one with this text on its command line, once that runs. */
async function killAbove(marker, up) {
  const deadline = performance.now() + 30_000
  let found
  while ((found = processes(marker)).size === 0) {
    if (performance.now() > deadline) throw new Error(`nothing with ${marker} on its command line`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  let [pid] = [...found].find(([, parent]) => !found.has(parent))
  for (let step = 0; step < up; step += 1) pid = parentOf(pid)
  process.kill(Number(pid), 'SIGKILL')
}

function listQuery(query) {
  const times = Object.entries(query).filter(([name]) => /_(after|before)$/.test(name))
  return keysToCamel({ ...query, ...Object.fromEntries(times.map(([name, text]) => [name, new Date(text)])) })
}

/** One client and the sandboxes that cases share; `late` is for how many seconds an event may undo what one has read since. */
export class Session {
  #count = 0
  #shared = new Map()

  constructor(module, server, { late = 0 } = {}) {
    this.late = late
    this.module = module
    this.server = server
    this.client = this.newClient(server.apiKey)
  }

  newClient(apiKey) {
    return new this.module.Daytona({ apiKey, apiUrl: this.server.url })
  }

  clientOf(target) {
    return target instanceof this.module.Daytona ? target : this.client
  }

  async close() {
    await Promise.all([...this.#shared.values()].map(async (sandbox) => (await sandbox).delete(60, true)))
    await this.client[Symbol.asyncDispose]?.()
  }

  /** Whether a case is about machines like this one. */
  applies({ file, case: one }) {
    const { holds } = this.server
    const names = (member) => [...(file[member] ?? []), ...(one[member] ?? [])]
    return names('with').every((name) => holds.has(name)) && !names('without').some((name) => holds.has(name))
  }

  /** Runs one case; `changed` replaces members of its steps by their number. */
  async run({ file, case: one }, changed = {}) {
    const id = `n${process.pid}x${this.#count++}`
    const local = fs.mkdtempSync(path.join(os.tmpdir(), 'daytona-local-'))
    const names = { id, dir: id, local, api_url: this.server.url, api_key: this.server.apiKey }
    try {
      if ('fresh' in one) {
        names.sandbox = await this.client.create(createParams(fill(one.fresh, names)))
      } else if ('sandbox' in file) {
        if (!this.#shared.has(file)) this.#shared.set(file, this.#prepare(file, names))
        names.sandbox = await this.#shared.get(file)
      }
      if (names.sandbox) {
        names.work = await names.sandbox.getWorkDir()
        names.home = await names.sandbox.getUserHomeDir()
      }
      await this.#steps(one.steps, names, changed)
    } finally {
      if ('fresh' in one && names.sandbox) await names.sandbox.delete(60, true)
      fs.rmSync(local, { recursive: true, force: true })
    }
  }

  async #prepare(file, names) {
    const sandbox = await this.client.create(createParams(file.sandbox))
    await this.#steps(file.setup ?? [], { ...names, sandbox }, {})
    return sandbox
  }

  async #steps(steps, names, changed) {
    const running = new Map()
    for (const [number, original] of steps.entries()) {
      const step = { ...original, ...changed[number] }
      if (step.join) {
        await running.get(step.join)()
        running.delete(step.join)
        continue
      }
      const at = `step ${number} (${step.call})`
      const begin = performance.now()
      const call = async () => CALLS[step.call](names[step.on ?? 'sandbox'], fill(step.args ?? {}, names), this)
      const outcome = within(call(), at).then((value) => ({ value }), (error) => ({ error }))
      const judge = async () => this.#judge(at, step, await outcome, names)
      if (step.background) {
        running.set(step.background, judge)
        continue
      }
      await judge()
      const took = (performance.now() - begin) / 1000
      assert.ok(took <= (step.within ?? LIMIT), `${at} took ${took.toFixed(1)} s`)
    }
    assert.equal(running.size, 0, 'a background step was never joined')
  }

  async #judge(at, step, outcome, names) {
    if ('error' in outcome) {
      const { error } = outcome
      if (!step.error) throw new assert.AssertionError({ message: `${at} raised ${error?.stack ?? error}` })
      const { class: name, ...want } = fill(step.error, names, true)
      const kind = this.module[name]
      assert.equal(typeof kind, 'function', `${name} is not exported`)
      const got = { message: error.message, status: error.statusCode, code: error.code, source: error.source, request_id: error.requestId, sandbox_id: error.sandboxId }
      const problem = error instanceof kind ? mismatch(want, got, 'error') : `error is ${error?.constructor?.name}, wanted ${name}`
      assert.equal(problem, undefined, `${at}: ${problem} (${error?.stack ?? error})`)
      return
    }
    assert.ok(!step.error, `${at} returned ${show(outcome.value)}, wanted ${show(step.error)}`)
    for (const [name, dotted] of Object.entries(step.save ?? {})) {
      const value = field(outcome.value, dotted)
      names[name] = typeof value === 'string' ? value.trim() : value
    }
    if ('expect' in step) {
      const want = fill(step.expect, names, true)
      const limit = performance.now() + (step.call === 'look' ? this.late * 1000 : 0)
      let problem = mismatch(want, outcome.value)
      while (problem && performance.now() < limit) {
        await delay(10)
        problem = mismatch(want, outcome.value)
      }
      assert.equal(problem, undefined, `${at}: ${problem}`)
    }
  }
}

function within(promise, at) {
  let timer
  const limit = new Promise((_, reject) => { timer = setTimeout(() => reject(new assert.AssertionError({ message: `${at} did not end within ${LIMIT} s` })), LIMIT * 1000) })
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer))
}
