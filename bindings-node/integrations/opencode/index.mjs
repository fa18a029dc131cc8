// OpenCode takes every function that a plugin exports for a plugin: there is one, under two names.
import opencode from './index.js'

export const { DaytonaPlugin } = opencode
export default DaytonaPlugin
