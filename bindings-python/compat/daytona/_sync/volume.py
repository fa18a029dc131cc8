"""The synchronous service of volumes."""

from daytona_native import (
    VolumeService as VolumeService,
)
