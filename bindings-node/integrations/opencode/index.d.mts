import { DaytonaPlugin } from './index.js'

export * from './index.js'
export default DaytonaPlugin
