import type { CallOptions } from './call.js'

/** What is known of a secret; its value is never read back. */
export interface Secret {
  /** Unique, never reused. */
  id: string
  /** Unique in the organization. */
  name: string
  /** Free text. */
  description?: string
  /** RFC 3339. */
  createdAt: string
  /** What environments of sandboxes hold in place of the value. */
  placeholder: string
  /** Hosts that the value may be sent to; all if empty. */
  hosts: string[]
  /** RFC 3339. */
  updatedAt: string
}

/** A new secret. */
export interface CreateSecretParams {
  /** Letters, digits, `_` and `-`, starting with a letter or `_`; unique in the organization. */
  name: string
  /** The value. */
  value: string
  /** Free text. */
  description?: string
  /** Host names, or `*.` and a domain, without ports; all hosts if there are none. */
  hosts?: string[]
}

/** Changes of a secret; what is not given stays. */
export interface UpdateSecretParams {
  /** The new value. */
  value?: string
  /** The new description. */
  description?: string
  /** The new hosts. */
  hosts?: string[]
}

/** What secrets are sorted by. */
export declare const ListSecretsPaginatedSortEnum: {
  readonly NAME: 'name'
  readonly CREATED_AT: 'createdAt'
  readonly UPDATED_AT: 'updatedAt'
  readonly UNKNOWN_DEFAULT_OPEN_API: '11184809'
}
export type ListSecretsPaginatedSortEnum =
  (typeof ListSecretsPaginatedSortEnum)[keyof typeof ListSecretsPaginatedSortEnum]

/** In which direction secrets are sorted. */
export declare const ListSecretsPaginatedOrderEnum: {
  readonly ASC: 'asc'
  readonly DESC: 'desc'
  readonly UNKNOWN_DEFAULT_OPEN_API: '11184809'
}
export type ListSecretsPaginatedOrderEnum =
  (typeof ListSecretsPaginatedOrderEnum)[keyof typeof ListSecretsPaginatedOrderEnum]

/** Which secrets to list. */
export interface ListSecretsQuery {
  /** `nextCursor` of the page before. */
  cursor?: string
  /** Secrets a page, 1 to 200; 100 by default. */
  limit?: number
  /** A part of the name. */
  name?: string
  /** `createdAt` by default. */
  sort?: ListSecretsPaginatedSortEnum
  /** `desc` by default. */
  order?: ListSecretsPaginatedOrderEnum
}

/** One page of secrets. */
export interface ListSecretsResponse {
  /** The secrets of this page. */
  items: Secret[]
  /** How many match, on all pages. */
  total: number
  /** For the next page; null on the last. */
  nextCursor: string | null
}

/** The secrets of the organization. */
export declare class SecretService {
  private constructor()

  /**
   * One page of secrets.
   *
   * @throws {DaytonaInvalidArgumentError} for a limit below 1, before anything is sent
   */
  list(query?: ListSecretsQuery, options?: CallOptions): Promise<ListSecretsResponse>

  /**
   * Finds a secret.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  get(secretId: string, options?: CallOptions): Promise<Secret>

  /**
   * Creates a secret; its value cannot be read back.
   *
   * @throws {DaytonaConflictError} if the name is taken
   */
  create(params: CreateSecretParams, options?: CallOptions): Promise<Secret>

  /**
   * Changes a secret.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  update(secretId: string, params: UpdateSecretParams, options?: CallOptions): Promise<Secret>

  /**
   * Deletes a secret; its placeholder stands for nothing from then on.
   *
   * @throws {DaytonaNotFoundError} if there is none
   */
  delete(secretId: string, options?: CallOptions): Promise<void>
}
