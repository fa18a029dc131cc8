'use strict'

const { Service } = require('./service')
const { members, optionalMembers, text } = require('./arguments')
const shapes = require('./shapes')

class SecretService extends Service {
  constructor(native) {
    super(native, 'secret')
  }

  async list(query, options) {
    return await this._call('list', { query: optionalMembers('query', query, shapes.ListSecretsQuery) }, options)
  }

  async get(secretId, options) {
    return await this._call('get', { id: text('secretId', secretId) }, options)
  }

  async create(params, options) {
    const { name, value, description, hosts } = members('params', params, shapes.CreateSecretParams)
    return await this._call('create', { params: { name: text('name', name), value: text('value', value), description, hosts } }, options)
  }

  async update(secretId, params, options) {
    const { value, description, hosts } = members('params', params, shapes.UpdateSecretParams)
    return await this._call('update', { id: text('secretId', secretId), params: { value, description, hosts } }, options)
  }

  async delete(secretId, options) {
    await this._do('delete', { id: text('secretId', secretId) }, options)
  }
}

const ListSecretsPaginatedSortEnum = Object.freeze({
  NAME: 'name',
  CREATED_AT: 'createdAt',
  UPDATED_AT: 'updatedAt',
  UNKNOWN_DEFAULT_OPEN_API: '11184809',
})

const ListSecretsPaginatedOrderEnum = Object.freeze({
  ASC: 'asc',
  DESC: 'desc',
  UNKNOWN_DEFAULT_OPEN_API: '11184809',
})

module.exports = { ListSecretsPaginatedOrderEnum, ListSecretsPaginatedSortEnum, SecretService }
