"""The synchronous service of secrets."""

from daytona_native import (
    SecretService as SecretService,
)
