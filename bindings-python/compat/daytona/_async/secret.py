"""The asynchronous service of secrets."""

from daytona_native import (
    AsyncSecretService as AsyncSecretService,
)
