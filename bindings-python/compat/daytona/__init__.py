"""The official package's name for ``daytona_native``: put this folder on ``PYTHONPATH``.

Programs that say ``from daytona import Daytona`` then run unchanged on the native client. Names that the
native client does not have yet are absent here too.
"""

import daytona_native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daytona_native import *  # noqa: F403

__all__ = list(daytona_native.__all__)  # type: ignore[assignment]


def __getattr__(name: str) -> object:
    """Take the name from ``daytona_native``."""
    try:
        return getattr(daytona_native, name)
    except AttributeError:
        raise AttributeError(f"module 'daytona' has no attribute {name!r}; daytona_native has none either") from None
