"""Volumes."""

from daytona_native import (
    VolumeMount as VolumeMount,
)
