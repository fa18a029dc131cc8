"""Parameters of the client."""

from daytona_native import (
    CodeLanguage as CodeLanguage,
    CreateSandboxBaseParams as CreateSandboxBaseParams,
    CreateSandboxFromImageParams as CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams as CreateSandboxFromSnapshotParams,
    DaytonaConfig as DaytonaConfig,
    ListSandboxesQuery as ListSandboxesQuery,
)

CODE_TOOLBOX_LANGUAGE_LABEL = "code-toolbox-language"
