"""Secrets."""

from daytona_native import (
    CreateSecretParams as CreateSecretParams,
    ListSecretsResponse as ListSecretsResponse,
    Secret as Secret,
    UpdateSecretParams as UpdateSecretParams,
)
