'use strict'

const { optionalMembers } = require('../../lib/arguments')
const { DaytonaPluginOptions } = require('../../lib/shapes')
const { manageTools } = require('./manage')
const { loadDefine } = require('./schema')
const { searchTools } = require('./search')
const { Sessions } = require('./sessions')
const { fileTools, shellTools } = require('./tools')

/** What OpenCode gives to a tool, where null stands for what was left out. */
const given = (args) => Object.fromEntries(Object.entries(args ?? {}).filter(([, value]) => value != null))

async function DaytonaPlugin(host, options = {}) {
  optionalMembers('options', options, DaytonaPluginOptions)
  const define = await loadDefine()
  const sessions = new Sessions(host, options)
  const sandboxed = options.sandboxed !== false
  const tool = {}

  if (sandboxed) {
    for (const [name, { description, args, execute }] of Object.entries({ ...shellTools(), ...fileTools(), ...searchTools() })) {
      tool[name] = define({
        description,
        args,
        execute: async (args, context) => execute(given(args), await sessions.workspace(context.sessionID), context),
      })
    }
  }
  for (const [name, { description, args, execute }] of Object.entries(manageTools(sessions))) {
    const definition = define({ description, args, execute: async (args, context) => execute(given(args), context) })
    addManageTool(tool, name, definition, options)
  }
  return sandboxed ? { tool, ...sessionHooks(host, sessions) } : { tool }
}

/**
 * Providers refuse names with a colon, and OpenCode passes names on as they are. The names with one are there for who
 * asks for them, and not listed.
 */
function addManageTool(tool, name, definition, { colons }) {
  if (!colons) tool[`daytona_${name}`] = definition
  Object.defineProperty(tool, `daytona:${name}`, { value: definition, enumerable: Boolean(colons), writable: true, configurable: true })
}

/** What follows a session: its work comes back when it rests, its sandbox goes when it goes. */
function sessionHooks(host, sessions) {
  const pending = new Set()

  const tell = async (variant, message) => {
    await host.client?.tui?.showToast?.({ body: { title: 'Daytona', message, variant } })?.catch?.(() => {})
  }
  const watch = (work) => {
    const watched = work
      .catch(async (error) => {
        await tell('error', error.message)
        await host.client?.app?.log?.({ body: { service: 'daytona', level: 'error', message: error.message } })?.catch?.(() => {})
      })
      .finally(() => pending.delete(watched))
    pending.add(watched)
    return watched
  }

  const collect = async (sessionID) => {
    const workspace = await sessions.opened(sessionID)
    if (!workspace?.sync) return
    const root = await sessions.root(sessionID)
    if (await workspace.collect(await sessions.title(root))) {
      await tell('success', `What was done is on the branch ${workspace.sync.branch}`)
    }
  }

  return {
    async event({ event }) {
      const { type, properties } = event
      if (type === 'session.idle') return watch(collect(properties.sessionID))
      if (type === 'session.deleted' && !properties.info.parentID) {
        // The sandbox stays if its work cannot be brought home.
        return watch(collect(properties.info.id).then(() => sessions.remove(properties.info.id)))
      }
      return undefined
    },

    async dispose() {
      await Promise.all(pending)
    },

    async 'experimental.chat.system.transform'({ sessionID }, { system }) {
      const workspace = sessionID && (await sessions.opened(sessionID))
      system.push(
        [
          'The tools for files and commands work in a Daytona sandbox, a Linux machine of its own, not on the machine of the user.',
          workspace && `The project is in ${workspace.project} there.`,
          'Relative paths start from the project, and paths of the project on the machine of the user lead there too.',
          'Start servers with bash and background, and give the user the address of getPreviewURL.',
          workspace?.sync && `What is done is committed, and brought to the branch ${workspace.sync.branch} of the user, by itself.`,
        ]
          .filter(Boolean)
          .join(' '),
      )
    },
  }
}

module.exports = { DaytonaPlugin }
