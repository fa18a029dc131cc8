"""The asynchronous service of warm pools."""

from daytona_native import (
    AsyncWarmPoolService as AsyncWarmPoolService,
)
