'use strict'

const { posix } = require('node:path')
const { expect, quote, run } = require('./run')
const { optional, text } = require('./schema')

/** The folder of the repository that a sandbox was made for. */
const REPOSITORY = 'opencode-repository'

const sandboxId = text('Id or name of the sandbox')

/** `https://host/team/name.git` as `name`. */
function nameOf(repoUrl) {
  const [, name] = /[/:]([\w.-]*\w[\w.-]*?)(?:\.git)?\/*$/.exec(repoUrl) ?? []
  if (!name) throw new Error(`${repoUrl} names no repository`)
  return name
}

async function find(sessions, id) {
  const sandbox = await sessions.client.get(id)
  if (sandbox.state !== 'started') await sandbox.start()
  return { sandbox, folder: sandbox.labels[REPOSITORY] }
}

/** Sandboxes by hand: made for a repository, used, brought back to its remote, deleted. */
function manageTools(sessions) {
  return {
    spin: {
      description: 'Creates a Daytona sandbox and clones a git repository into it. Gives the sandboxId for the other daytona tools.',
      args: {
        repoUrl: text('URL of the git repository'),
        branch: optional(text('Branch to check out; main by default')),
        name: optional(text('Unique name of the sandbox')),
      },
      async execute({ repoUrl, branch, name }, { abort }) {
        const folder = nameOf(repoUrl)
        const sandbox = await sessions.client.create({ name: name ?? undefined, labels: { [REPOSITORY]: folder } }, { signal: abort })
        try {
          await sandbox.git.clone(repoUrl, folder, branch ?? 'main', undefined, undefined, undefined, undefined, undefined, {
            signal: abort,
          })
        } catch (error) {
          await sandbox.delete()
          throw error
        }
        const path = posix.join(await sandbox.getWorkDir(), folder)
        return {
          title: sandbox.name,
          output: `sandboxId: ${sandbox.id}\nThe branch ${branch ?? 'main'} of ${repoUrl} is in ${path}, where daytona exec starts.`,
          metadata: { sandboxId: sandbox.id, name: sandbox.name, path, branch: branch ?? 'main' },
        }
      },
    },

    exec: {
      description: 'Runs a shell command in a sandbox of daytona spin, in its repository.',
      args: { sandboxId, command: text('The command') },
      async execute({ sandboxId, command }, { abort }) {
        const { sandbox, folder } = await find(sessions, sandboxId)
        const { output, exitCode } = await run(sandbox, command, { cwd: folder, signal: abort })
        return {
          title: command,
          output: `${output}${output === '' || output.endsWith('\n') ? '' : '\n'}exit code: ${exitCode}`,
          metadata: { exitCode },
        }
      },
    },

    sync: {
      description: 'Commits all changes of the repository in a sandbox, rebases them on its remote branch, and pushes them there.',
      args: {
        sandboxId,
        branch: optional(text('Remote branch; main by default')),
        message: optional(text('Message of the commit')),
      },
      async execute(args, { abort, ask }) {
        const branch = args.branch ?? 'main'
        const { sandbox, folder } = await find(sessions, args.sandboxId)
        if (!folder) throw new Error(`${args.sandboxId} was not made by daytona spin: it has no repository to sync`)
        await ask?.({ permission: 'daytona', patterns: [`push ${branch}`], always: ['push *'], metadata: { sandboxId: sandbox.id } })
        const step = (command, env) => expect(sandbox, command, { cwd: folder, env, signal: abort })
        const identity = 'git config user.email >/dev/null || git config user.email opencode@localhost; git config user.name >/dev/null || git config user.name OpenCode'
        await step(`${identity}; git add -A && { git diff --cached --quiet || git commit -q -m "$MESSAGE"; }`, {
          MESSAGE: args.message ?? 'Work done in a Daytona sandbox',
        })
        const there = quote(`refs/heads/${branch}`)
        // A branch that the remote does not have yet is made by the push.
        const pull = `found=$(git ls-remote origin ${there}) || exit; [ -z "$found" ] || git pull -q --rebase origin ${there}`
        const { output, exitCode } = await run(sandbox, pull, { cwd: folder, signal: abort })
        if (exitCode !== 0) {
          const conflicts = (await step('git diff --name-only --diff-filter=U')).trim().split('\n').filter(Boolean)
          await run(sandbox, 'git rebase --abort', { cwd: folder })
          if (conflicts.length === 0) throw new Error(`nothing was pushed: ${output.trim()}`)
          throw new Error(
            `nothing was pushed: ${branch} has changes that conflict in ${conflicts.join(', ')}. The commit is in the sandbox. ` +
              `Run "git rebase origin/${branch}" there with daytona exec, resolve the conflicts, run "git rebase --continue", and sync again; ` +
              'or sync to another branch.',
          )
        }
        await step(`git push -q origin ${quote(`HEAD:refs/heads/${branch}`)}`)
        const head = (await step('git rev-parse HEAD')).trim()
        return { title: branch, output: `${branch} of the remote is at ${head}.`, metadata: { branch, commit: head } }
      },
    },

    delete: {
      description: 'Deletes a sandbox with everything in it. What was not synced is lost.',
      args: { sandboxId },
      async execute({ sandboxId }, { ask }) {
        const sandbox = await sessions.client.get(sandboxId)
        await ask?.({ permission: 'daytona', patterns: [`delete ${sandbox.name}`], always: ['delete *'], metadata: { sandboxId: sandbox.id } })
        await sandbox.delete()
        return { title: sandbox.name, output: `The sandbox ${sandbox.name} is deleted.`, metadata: { sandboxId: sandbox.id } }
      },
    },
  }
}

module.exports = { manageTools }
