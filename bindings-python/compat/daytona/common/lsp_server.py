"""What language servers take."""

from daytona_native import (
    LspCompletionPosition as LspCompletionPosition,
    LspLanguageId as LspLanguageId,
)
