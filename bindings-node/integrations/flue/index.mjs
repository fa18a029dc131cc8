// The CommonJS module under its own name: both ways to load it give the same function.
import flue from './index.js'

export const { daytona } = flue
