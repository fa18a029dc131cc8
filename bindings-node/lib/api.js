'use strict'

const { Service } = require('./service')
const { list, members, object, optionalMembers, text, time } = require('./arguments')
const shapes = require('./shapes')

/** A list is sent once for each value; what is not there is not sent. */
function pairs(query) {
  return Object.entries(object('query', query)).flatMap(([name, value]) =>
    [value].flat().filter((one) => one != null).map((one) => [name, String(one)]),
  )
}

class Api extends Service {
  constructor(native) {
    super(native, 'api')
  }

  async request(method, path, query, body, options) {
    const args = { method: text('method', method), path: text('path', path), query: pairs(query), body }
    return await this._call('request', args, options)
  }

  async listApiKeys(options) {
    return await this._call('list_api_keys', {}, options)
  }

  async currentApiKey(options) {
    return await this._call('current_api_key', {}, options)
  }

  async getApiKey(name, options) {
    return await this._call('get_api_key', { name: text('name', name) }, options)
  }

  async createApiKey(params, options) {
    const { name, permissions, expiresAt } = optionalMembers('params', params, shapes.CreateApiKeyParams)
    const given = {
      name: text('name', name),
      permissions: list('permissions', permissions),
      expiresAt: time('expiresAt', expiresAt),
    }
    return await this._call('create_api_key', { params: given }, options)
  }

  async deleteApiKey(name, options) {
    await this._do('delete_api_key', { name: text('name', name) }, options)
  }

  async listOrganizations(options) {
    return await this._call('list_organizations', {}, options)
  }

  async getOrganization(organizationId, options) {
    return await this._call('get_organization', { id: text('organizationId', organizationId) }, options)
  }

  async organizationUsage(organizationId, options) {
    return await this._call('organization_usage', { id: text('organizationId', organizationId) }, options)
  }

  async setDefaultRegion(organizationId, regionId, options) {
    const args = { id: text('organizationId', organizationId), regionId: text('regionId', regionId) }
    await this._do('set_default_region', args, options)
  }

  async listRegions(options) {
    return await this._call('list_regions', {}, options)
  }

  async getRegion(regionId, options) {
    return await this._call('get_region', { id: text('regionId', regionId) }, options)
  }

  async listRegistries(options) {
    return await this._call('list_registries', {}, options)
  }

  async getRegistry(registryId, options) {
    return await this._call('get_registry', { id: text('registryId', registryId) }, options)
  }

  async createRegistry(params, options) {
    return await this._call('create_registry', { params: members('params', params, shapes.RegistryParams) }, options)
  }

  async updateRegistry(registryId, params, options) {
    const args = { id: text('registryId', registryId), params: members('params', params, shapes.RegistryParams) }
    return await this._call('update_registry', args, options)
  }

  async deleteRegistry(registryId, options) {
    await this._do('delete_registry', { id: text('registryId', registryId) }, options)
  }

  async listAuditLogs(organizationId, query, options) {
    const { from, to, ...rest } = optionalMembers('query', query, shapes.AuditQuery)
    const given = { ...rest, from: time('from', from), to: time('to', to) }
    return await this._call('audit_logs', { id: text('organizationId', organizationId), query: given }, options)
  }

  async webhookStatus(organizationId, options) {
    return await this._call('webhook_status', { id: text('organizationId', organizationId) }, options)
  }

  async initializeWebhooks(organizationId, options) {
    return await this._call('initialize_webhooks', { id: text('organizationId', organizationId) }, options)
  }

  async webhookPortal(organizationId, options) {
    return await this._call('webhook_portal', { id: text('organizationId', organizationId) }, options)
  }

  async refreshWebhooks(organizationId, options) {
    await this._do('refresh_webhooks', { id: text('organizationId', organizationId) }, options)
  }
}

module.exports = { Api }
