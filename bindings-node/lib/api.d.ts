import type { CallOptions } from './call.js'

/** What is known of an API key. */
export interface ApiKey {
  /** Its name. */
  name: string
  /** Its beginning and end. */
  value: string
  /** RFC 3339, as all times. */
  createdAt: string
  /** What it may do: `write:sandboxes`, `read:volumes`, ... */
  permissions: string[]
  /** When it was last used. */
  lastUsedAt?: string | null
  /** When it stops working; null is never. */
  expiresAt?: string | null
  /** Who made it. */
  userId: string
}

/** A new API key; the only time that its value is seen. */
export interface CreatedApiKey {
  /** Its name. */
  name: string
  /** The key. */
  value: string
  /** RFC 3339. */
  createdAt: string
  /** What it may do. */
  permissions: string[]
  /** When it stops working; null is never. */
  expiresAt?: string | null
}

/** An organization and its limits. */
export interface Organization {
  /** Unique. */
  id: string
  /** For people. */
  name: string
  /** The user who made it. */
  createdBy: string
  /** True if it is one user's own. */
  personal: boolean
  /** RFC 3339, as all times. */
  createdAt: string
  /** When it was changed last. */
  updatedAt: string
  /** True if it may do nothing at present. */
  suspended: boolean
  /** Since when. */
  suspendedAt?: string | null
  /** Why. */
  suspensionReason?: string | null
  /** Until when. */
  suspendedUntil?: string | null
  /** Hours until a suspended organization is cleaned up. */
  suspensionCleanupGracePeriodHours?: number | null
  /** Cores. */
  maxCpuPerSandbox: number
  /** GiB. */
  maxMemoryPerSandbox: number
  /** GiB. */
  maxDiskPerSandbox: number
  /** How many secrets it may have. */
  secretQuota?: number | null
  /** How many secrets a sandbox may hold. */
  maxSecretsPerSandbox?: number | null
  /** Minutes after which an unused snapshot is deactivated. */
  snapshotDeactivationTimeoutMinutes?: number | null
  /** True if new sandboxes have a limited network. */
  sandboxLimitedNetworkEgress: boolean
  /** True if previews begin with a warning. */
  previewWarningEnabled: boolean
  /** True if it may have identity providers of its own. */
  ssoEnabled: boolean
  /** The region of what is created without one. */
  defaultRegionId?: string | null
  /** Requests in its time. */
  authenticatedRateLimit?: number | null
  /** Creations in their time. */
  sandboxCreateRateLimit?: number | null
  /** Starts, stops and the like in their time. */
  sandboxLifecycleRateLimit?: number | null
  /** Settings that may change. */
  experimentalConfig?: Record<string, unknown> | null
  /** Where telemetry is sent. */
  otelConfig?: Record<string, unknown> | null
  /** Seconds that requests are counted for. */
  authenticatedRateLimitTtlSeconds?: number | null
  /** Seconds that creations are counted for. */
  sandboxCreateRateLimitTtlSeconds?: number | null
  /** Seconds that starts and stops are counted for. */
  sandboxLifecycleRateLimitTtlSeconds?: number | null
}

/** What an organization uses in one region of what it may. */
export interface RegionUsage {
  /** The region. */
  regionId: string
  /** `container`, `linux-vm` or `windows`. */
  sandboxClass: string
  /** Cores it may use. */
  totalCpuQuota: number
  /** Cores it uses. */
  currentCpuUsage: number
  /** GiB it may use. */
  totalMemoryQuota: number
  /** GiB it uses. */
  currentMemoryUsage: number
  /** GiB it may use. */
  totalDiskQuota: number
  /** GiB it uses. */
  currentDiskUsage: number
  /** GPUs it may use. */
  totalGpuQuota: number
  /** GPUs it uses. */
  currentGpuUsage: number
  /** Cores. */
  maxCpuPerSandbox?: number | null
  /** GiB. */
  maxMemoryPerSandbox?: number | null
  /** GiB. */
  maxDiskPerSandbox?: number | null
  /** GiB. */
  maxDiskPerNonEphemeralSandbox?: number | null
  /** Cores. */
  maxCpuPerGpu?: number | null
  /** GiB. */
  maxMemoryPerGpu?: number | null
  /** GiB. */
  maxDiskPerGpu?: number | null
}

/** What an organization uses of what it may. */
export interface OrganizationUsage {
  /** Region by region. */
  regionUsage: RegionUsage[]
  /** Snapshots it may have. */
  totalSnapshotQuota: number
  /** Snapshots it has. */
  currentSnapshotUsage: number
  /** Volumes it may have. */
  totalVolumeQuota: number
  /** Volumes it has. */
  currentVolumeUsage: number
}

/** A region. */
export interface Region {
  /** Unique. */
  id: string
  /** For people. */
  name: string
  /** The organization it belongs to; null if it is shared. */
  organizationId?: string | null
  /** `shared`, `dedicated` or `custom`. */
  regionType: string
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339. */
  updatedAt: string
  /** Where previews are. */
  proxyUrl?: string | null
  /** Where SSH is. */
  sshGatewayUrl?: string | null
  /** Where snapshots are kept. */
  snapshotManagerUrl?: string | null
  /** Where telemetry is sent. */
  otelEndpoint?: string | null
}

/** A registry of images. */
export interface Registry {
  /** Unique. */
  id: string
  /** For people. */
  name: string
  /** Its URL. */
  url: string
  /** Who logs in. */
  username: string
  /** The project in it. */
  project: string
  /** `internal`, `organization`, `transient` or `backup`. */
  registryType: string
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339. */
  updatedAt: string
}

/** The settings of a registry. */
export interface RegistryParams {
  /** For people. */
  name: string
  /** Its URL. */
  url: string
  /** Who logs in. */
  username: string
  /** With what. Needed for a new one. */
  password?: string
  /** The project in it. */
  project?: string
}

/** Something that was done. */
export interface AuditLog {
  /** Unique. */
  id: string
  /** Who did it. */
  actorId: string
  /** Who did it. */
  actorEmail: string
  /** In which organization. */
  organizationId?: string | null
  /** What was done. */
  action: string
  /** To what kind of thing. */
  targetType?: string | null
  /** To which. */
  targetId?: string | null
  /** The HTTP status of the answer. */
  statusCode?: number | null
  /** Why it failed. */
  errorMessage?: string | null
  /** From where. */
  ipAddress?: string | null
  /** With what. */
  userAgent?: string | null
  /** With what kind of client. */
  source?: string | null
  /** What else is known. */
  metadata?: Record<string, unknown> | null
  /** RFC 3339. */
  createdAt: string
}

/** One page of what was done. */
export interface AuditLogs {
  /** The entries of this page. */
  items: AuditLog[]
  /** Of all pages. */
  total: number
  /** This page, from 1. */
  page: number
  /** Number of pages. */
  totalPages: number
  /** For the next page; null on the last. */
  nextToken?: string | null
}

/** Whether webhooks are set up. */
export interface WebhookStatus {
  /** The organization. */
  organizationId: string
  /** What sends them; null before they are set up. */
  svixApplicationId?: string | null
  /** Why the last attempt to set them up failed. */
  lastError?: string | null
  /** How many attempts were made. */
  retryCount: number
  /** RFC 3339. */
  createdAt: string
  /** RFC 3339. */
  updatedAt: string
}

/** The page where webhooks are managed; it lets in who has it. */
export interface WebhookPortal {
  /** Lets its bearer in. */
  token: string
  /** The page. */
  url: string
}

/** A new API key. */
export interface CreateApiKeyParams {
  /** Its name, which no other key of the user has. */
  name: string
  /** What it may do: `write:sandboxes`, `read:volumes`, ... */
  permissions: string[]
  /** When it stops working; never if there is none. */
  expiresAt?: Date
}

/** Which entries of the audit log to list. */
export interface AuditQuery {
  /** From 1. */
  page?: number
  /** Entries a page. */
  limit?: number
  /** Only from then on. */
  from?: Date
  /** Only until then. */
  to?: Date
  /** Of the page before. */
  nextToken?: string
}

/**
 * What a team administers, and requests of one's own. All methods fail with `DaytonaForbiddenError` where the API key
 * may not do that, `DaytonaNotFoundError` for what is not there, and `DaytonaUnsupportedError` where the server does
 * not have it.
 */
export declare class Api {
  private constructor()

  /**
   * Sends any request to the API, with the client's credentials, retries, errors and time limit.
   *
   * @param method  `GET`, `POST`, `PUT`, `PATCH` or `DELETE`
   * @param path    beneath the API's URL, its parts escaped: `/organizations/my%20org/users`
   * @param query   one that is a list is sent once for each value, what is null or undefined is not sent
   * @param body    what JSON can hold
   * @returns the answer's JSON, its text where it is none, null where it is empty
   * @throws {DaytonaInvalidArgumentError} for no such method, or a path that leaves the API; nothing was sent
   */
  request<T = any>(
    method: string,
    path: string,
    query?: Record<string, string | number | boolean | readonly (string | number | boolean)[] | null | undefined>,
    body?: unknown,
    options?: CallOptions,
  ): Promise<T>

  /** The API keys of the user. */
  listApiKeys(options?: CallOptions): Promise<ApiKey[]>
  /** What is known of the API key that this client uses. */
  currentApiKey(options?: CallOptions): Promise<ApiKey>
  /** An API key by its name. */
  getApiKey(name: string, options?: CallOptions): Promise<ApiKey>
  /** Makes an API key; its value is not shown again. */
  createApiKey(params: CreateApiKeyParams, options?: CallOptions): Promise<CreatedApiKey>
  /** Deletes an API key, which stops working at once. */
  deleteApiKey(name: string, options?: CallOptions): Promise<void>
  /** The organizations that the user is in. */
  listOrganizations(options?: CallOptions): Promise<Organization[]>
  /** An organization by its id. */
  getOrganization(organizationId: string, options?: CallOptions): Promise<Organization>
  /** What an organization uses at present of what it may. */
  organizationUsage(organizationId: string, options?: CallOptions): Promise<OrganizationUsage>
  /** Sets the region of what is created without one. */
  setDefaultRegion(organizationId: string, regionId: string, options?: CallOptions): Promise<void>
  /** The regions that the organization may use. */
  listRegions(options?: CallOptions): Promise<Region[]>
  /** A region by its id. */
  getRegion(regionId: string, options?: CallOptions): Promise<Region>
  /** The registries of the organization. */
  listRegistries(options?: CallOptions): Promise<Registry[]>
  /** A registry by its id. */
  getRegistry(registryId: string, options?: CallOptions): Promise<Registry>
  /** Adds a registry; needs a password. */
  createRegistry(params: RegistryParams, options?: CallOptions): Promise<Registry>
  /** Replaces the settings of a registry; without a password the old one stays. */
  updateRegistry(registryId: string, params: RegistryParams, options?: CallOptions): Promise<Registry>
  /** Removes a registry. */
  deleteRegistry(registryId: string, options?: CallOptions): Promise<void>
  /** One page of what was done in an organization. */
  listAuditLogs(organizationId: string, query?: AuditQuery, options?: CallOptions): Promise<AuditLogs>
  /** Whether webhooks are set up. */
  webhookStatus(organizationId: string, options?: CallOptions): Promise<WebhookStatus>
  /** Sets webhooks up. */
  initializeWebhooks(organizationId: string, options?: CallOptions): Promise<WebhookStatus>
  /** The page where webhooks are managed; it lets in who has it. */
  webhookPortal(organizationId: string, options?: CallOptions): Promise<WebhookPortal>
  /** Has the server look again whether there are webhooks. */
  refreshWebhooks(organizationId: string, options?: CallOptions): Promise<void>
}
