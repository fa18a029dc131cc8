'use strict'

/** Parameters of tools, from which come the host's own schemas, or JSON schemas where it shows none. */
const text = (description) => ({ type: 'string', description })
const number = (description) => ({ type: 'number', description })
const flag = (description) => ({ type: 'boolean', description })
const list = (items, description) => ({ type: 'array', items, description })
const object = (properties) => ({ type: 'object', properties })
const optional = (parameter) => ({ ...parameter, optional: true })

function toZod(z, parameter) {
  const { type, description, items, properties } = parameter
  let schema
  if (type === 'array') schema = z.array(toZod(z, items))
  else if (type === 'object') schema = z.object(zodShape(z, properties))
  else schema = z[type]()
  if (parameter.optional) schema = schema.optional()
  return description ? schema.describe(description) : schema
}

const zodShape = (z, parameters) => mapValues(parameters, (parameter) => toZod(z, parameter))

/** The host asks for all parameters of such a schema: one that may be left out may be null. */
function toJson(parameter) {
  const { type, description, items, properties } = parameter
  const schema = { type: parameter.optional ? [type, 'null'] : type }
  if (description) schema.description = description
  if (items) schema.items = toJson(items)
  if (properties) Object.assign(schema, { properties: mapValues(properties, toJson), required: Object.keys(properties) })
  return schema
}

function mapValues(record, convert) {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, convert(value)]))
}

/** What makes a definition of the host's kind of what `tools` say. */
async function loadDefine() {
  let tool
  try {
    ;({ tool } = await import('@opencode-ai/plugin/tool'))
  } catch {
    // A plugin that OpenCode has installed by itself sees none of its packages.
    return (definition) => ({ ...definition, args: mapValues(definition.args, toJson) })
  }
  return (definition) => tool({ ...definition, args: zodShape(tool.schema, definition.args) })
}

module.exports = { flag, list, loadDefine, number, object, optional, text }
