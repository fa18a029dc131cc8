'use strict'

const { Service } = require('./service')
const { object, optionalFlag, text } = require('./arguments')

class VolumeService extends Service {
  constructor(native) {
    super(native, 'volume')
  }

  async list(options) {
    return await this._call('list', {}, options)
  }

  async get(name, create = false, options) {
    return await this._call('get', { name: text('name', name), create: optionalFlag('create', create) }, options)
  }

  async create(name, options) {
    return await this._call('create', { name: text('name', name) }, options)
  }

  async delete(volume, options) {
    await this._do('delete', { id: text('volume.id', object('volume', volume).id) }, options)
  }
}

module.exports = { VolumeService }
