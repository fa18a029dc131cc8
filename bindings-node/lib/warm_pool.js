'use strict'

const { Service } = require('./service')
const { integer, members, text } = require('./arguments')
const shapes = require('./shapes')

class WarmPoolService extends Service {
  constructor(native) {
    super(native, 'warm_pool')
  }

  async list(options) {
    return await this._call('list', {}, options)
  }

  async create(params, options) {
    const { snapshot, pool, target } = members('params', params, shapes.CreateWarmPool)
    const given = { snapshot: text('snapshot', snapshot), pool: integer('pool', pool), target }
    return await this._call('create', { params: given }, options)
  }

  async update(warmPoolId, params, options) {
    const { pool } = members('params', params, shapes.UpdateWarmPool)
    return await this._call('update', { id: text('warmPoolId', warmPoolId), pool: integer('pool', pool) }, options)
  }

  async delete(warmPoolId, options) {
    await this._do('delete', { id: text('warmPoolId', warmPoolId) }, options)
  }
}

module.exports = { WarmPoolService }
