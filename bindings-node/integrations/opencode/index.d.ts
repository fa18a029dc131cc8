import type { CreateSandboxFromImageParams, CreateSandboxFromSnapshotParams, DaytonaConfig } from 'daytona-native'

/** What OpenCode gives to a plugin: the part of its `PluginInput` that is used. */
export interface OpenCodeInput {
  /** Of OpenCode's own server. */
  client: object
  /** Where OpenCode was started. */
  directory: string
  /** The root of the repository; `/` where there is none. */
  worktree: string
}

/** Settings: the second element of the plugin's entry in `opencode.json`. */
export interface DaytonaPluginOptions {
  /** Replace OpenCode's own tools for files and commands; true by default. Without, there are only the four for sandboxes. */
  sandboxed?: boolean
  /** Bring the repository into new sandboxes, and what was done back to a local branch; true by default. */
  sync?: boolean
  /** What the sandboxes of sessions are made of. */
  create?: CreateSandboxFromSnapshotParams | CreateSandboxFromImageParams
  /** Settings of the client; `DAYTONA_API_KEY`, `DAYTONA_API_URL` and `DAYTONA_TARGET` by default. */
  daytona?: DaytonaConfig
  /** Show models `daytona:spin` instead of `daytona_spin`, and so on. Most providers refuse such names. */
  colons?: boolean
}

/** What OpenCode tells a tool about its call: the part of its `ToolContext` that is used. */
export interface OpenCodeToolContext {
  /** The session that calls. */
  sessionID: string
  /** Ends the call; a command is killed in the sandbox. */
  abort: AbortSignal
  /** Shows what there is so far. */
  metadata(input: { title?: string; metadata?: { [key: string]: any } }): void
  /** Asks the user. */
  ask(input: {
    permission: string
    patterns: string[]
    always: string[]
    metadata: { [key: string]: any }
  }): Promise<void>
}

/** What a tool gives. */
export interface OpenCodeToolResult {
  title?: string
  /** What the model is shown. */
  output: string
  metadata?: { [key: string]: any }
  /** Pictures and documents, as `data:` URLs. */
  attachments?: { type: 'file'; mime: string; url: string; filename?: string }[]
}

/** A tool, as `tool()` of `@opencode-ai/plugin` makes it. */
export interface OpenCodeTool {
  description: string
  /** Schemas of its parameters, by their names. */
  args: any
  execute(args: any, context: OpenCodeToolContext): Promise<OpenCodeToolResult>
}

/** What OpenCode is given. */
export interface DaytonaHooks {
  /**
   * `bash`, `read`, `write`, `edit`, `multiedit`, `patch`, `apply_patch`, `ls`, `glob`, `grep`, `lsp` and `getPreviewURL`, which
   * work in the sandbox of the session; `daytona_spin`, `daytona_exec`, `daytona_sync` and `daytona_delete`, which are
   * found as `daytona:spin` and so on too.
   */
  tool: { [name: string]: OpenCodeTool }
  /** Brings work back when a session rests; deletes the sandbox of one that is deleted. */
  event?(input: { event: any }): Promise<void>
  /** Waits for what is under way. */
  dispose?(): Promise<void>
  /** Tells the model where it works. */
  'experimental.chat.system.transform'?(input: { sessionID?: string; model: any }, output: { system: string[] }): Promise<void>
}

/**
 * The plugin of OpenCode: sessions work in sandboxes. Nothing is made before a tool is used; each session has one
 * sandbox, with the label `opencode-session`, which its subagents share.
 *
 * @example
 * // .opencode/plugin/daytona.js
 * export { DaytonaPlugin } from 'daytona-native/opencode'
 */
export declare function DaytonaPlugin(input: OpenCodeInput, options?: DaytonaPluginOptions): Promise<DaytonaHooks>
