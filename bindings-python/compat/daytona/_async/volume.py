"""The asynchronous service of volumes."""

from daytona_native import (
    AsyncVolumeService as AsyncVolumeService,
)
