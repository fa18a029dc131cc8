"""The synchronous service of warm pools."""

from daytona_native import (
    WarmPoolService as WarmPoolService,
)
