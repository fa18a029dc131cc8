"""Volumes."""

from daytona_native import (
    Volume as Volume,
    VolumeMount as VolumeMount,
)
