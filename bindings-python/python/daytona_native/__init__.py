"""Daytona sandboxes: a native client, synchronous (``Daytona``) and asynchronous (``AsyncDaytona``).

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

_MODULES = {
    "_sync.daytona": ("Daytona"),
    "_async.daytona": ("AsyncDaytona"),
    "_sync.sandbox": ("Sandbox"),
    "_async.sandbox": ("AsyncSandbox"),
    "_sync.files": ("FileSystem"),
    "_async.files": ("AsyncFileSystem"),
    "_sync.process": ("Process"),
    "_async.process": ("AsyncProcess"),
    "_sync.session": ("LogStream"),
    "_async.session": ("AsyncLogStream"),
    "_sync.exec_stream": ("ExecStream"),
    "_async.exec_stream": ("AsyncExecStream"),
    "_sync.pty": ("PtyHandle"),
    "_async.pty": ("AsyncPtyHandle"),
    "_sync.interpreter": ("CodeInterpreter"),
    "_async.interpreter": ("AsyncCodeInterpreter"),
    "_sync.snapshot": ("BuildLog SnapshotService"),
    "_async.snapshot": ("AsyncBuildLog AsyncSnapshotService"),
    "_sync.volume": ("VolumeService"),
    "_async.volume": ("AsyncVolumeService"),
    "_sync.secret": ("SecretService"),
    "_async.secret": ("AsyncSecretService"),
    "_sync.warm_pool": ("WarmPoolService"),
    "_async.warm_pool": ("AsyncWarmPoolService"),
    "_sync.api": ("Api"),
    "_async.api": ("AsyncApi"),
    "_sync.terminal_backend": ("TerminalBackend"),
    "_async.terminal_backend": ("AsyncTerminalBackend"),
    "_sync.sandbox_provider": ("SandboxProvider"),
    "_async.sandbox_provider": ("AsyncSandboxProvider"),
    "_terminal_backend": ("TerminalConfig TerminalImage TerminalResult"),
    "_sandbox_provider": ("CapabilityProfile CapacityRegion PoolConfig Quota SandboxHandle"),
    "_volume": ("Volume"),
    "_secret": ("CreateSecretParams ListSecretsResponse Secret UpdateSecretParams"),
    "_warm_pool": ("WarmPool"),
    "_metrics": ("SandboxMetrics"),
    "_admin": (
        "ApiKey AuditLog AuditLogs CreatedApiKey Organization OrganizationUsage Region RegionUsage Registry "
        "RegistryParams WebhookPortal WebhookStatus"
    ),
    "_native": ("OutputChunk"),
    "_snapshot": ("CreateSnapshotParams PaginatedSnapshots Snapshot"),
    "_image": ("Image"),
    "_sync.git": ("Git"),
    "_async.git": ("AsyncGit"),
    "_sync.lsp": ("LspServer"),
    "_async.lsp": ("AsyncLspServer"),
    "_git": ("FileStatus GitCommitResponse GitRemote GitStatus ListBranchResponse ListRemotesResponse Status"),
    "_lsp": (
        "CompletionItem CompletionList LspCompletionPosition LspLanguageId LspLocation LspPosition LspRange LspSymbol"
    ),
    "_access": ("PortPreviewUrl SignedPortPreviewUrl SshAccessDto SshAccessValidationDto"),
    "_session": ("Command Session SessionCommandLogsResponse SessionExecuteRequest SessionExecuteResponse"),
    "_pty": ("PtyResult PtySessionInfo PtySize"),
    "_interpreter": ("ExecutionError ExecutionResult InterpreterContext OutputMessage Result"),
    "_chart": (
        "BarChart BoxAndWhiskerChart Chart ChartElement ChartType CompositeChart LineChart PieChart ScatterChart "
        "parse_chart"
    ),
    "_protocols": ("OutputHandler"),
    "_params": (
        "CodeRunParams CreateSandboxBaseParams CreateSandboxFromImageParams CreateSandboxFromSnapshotParams "
        "DaytonaConfig FileDownloadRequest FileUpload ListSandboxesQuery Resources VolumeMount"
    ),
    "_results": (
        "BuildInfo CancelEvent ContextUploadProgress DownloadProgress ExecuteResponse ExecutionArtifacts "
        "FileDownloadErrorDetails FileDownloadResponse FileInfo Match ReplaceResult SandboxVolume "
        "SearchFilesResponse UploadProgress"
    ),
    "_enums": (
        "CodeLanguage GpuType SandboxClass SandboxDesiredState SandboxListSortDirection SandboxListSortField "
        "SandboxState SnapshotState"
    ),
    "_errors": (
        "DaytonaA11yUnavailableError DaytonaAuthenticationError DaytonaAuthorizationError "
        "DaytonaBadGatewayError DaytonaBadRequestError DaytonaBuildFailedError DaytonaCommandAlreadyCompletedError "
        "DaytonaConflictError DaytonaConnectionError DaytonaConnectionTimeoutError DaytonaError "
        "DaytonaFileAccessDeniedError DaytonaFileNotFoundError DaytonaFileReadFailedError "
        "DaytonaForbiddenError DaytonaGitAuthFailedError DaytonaGitBranchExistsError "
        "DaytonaGitBranchNotFoundError DaytonaGitDirtyWorktreeError DaytonaGitMergeConflictError "
        "DaytonaGitPushRejectedError DaytonaGitRemoteRejectedError DaytonaGitRepoNotFoundError "
        "DaytonaGitTransportFailedError DaytonaGoneError DaytonaInternalServerError "
        "DaytonaInvalidArgumentError DaytonaInvalidFilePathError DaytonaLspServerNotInitializedError "
        "DaytonaNotFoundError DaytonaProcessExecutionTimeoutError DaytonaProcessNotFoundError "
        "DaytonaQueueTimeoutError DaytonaRateLimitError DaytonaRecordingFfmpegNotFoundError "
        "DaytonaRecordingStillActiveError DaytonaResponseTooLargeError DaytonaSandboxDiedError "
        "DaytonaServiceUnavailableError DaytonaSessionEndedError DaytonaSpotEvictedError DaytonaTimeoutError "
        "DaytonaUnprocessableEntityError DaytonaUnsupportedError DaytonaValidationError"
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "Api",
    "ApiKey",
    "AsyncApi",
    "AsyncBuildLog",
    "AsyncCodeInterpreter",
    "AsyncDaytona",
    "AsyncExecStream",
    "AsyncFileSystem",
    "AsyncGit",
    "AsyncLogStream",
    "AsyncLspServer",
    "AsyncProcess",
    "AsyncPtyHandle",
    "AsyncSandbox",
    "AsyncSandboxProvider",
    "AsyncSecretService",
    "AsyncSnapshotService",
    "AsyncTerminalBackend",
    "AsyncVolumeService",
    "AsyncWarmPoolService",
    "AuditLog",
    "AuditLogs",
    "BarChart",
    "BoxAndWhiskerChart",
    "BuildInfo",
    "BuildLog",
    "CancelEvent",
    "CapabilityProfile",
    "CapacityRegion",
    "Chart",
    "ChartElement",
    "ChartType",
    "CodeInterpreter",
    "CodeLanguage",
    "CodeRunParams",
    "Command",
    "CompletionItem",
    "CompletionList",
    "CompositeChart",
    "ContextUploadProgress",
    "CreateSandboxBaseParams",
    "CreateSandboxFromImageParams",
    "CreateSandboxFromSnapshotParams",
    "CreateSecretParams",
    "CreateSnapshotParams",
    "CreatedApiKey",
    "Daytona",
    "DaytonaA11yUnavailableError",
    "DaytonaAuthenticationError",
    "DaytonaAuthorizationError",
    "DaytonaBadGatewayError",
    "DaytonaBadRequestError",
    "DaytonaBuildFailedError",
    "DaytonaCommandAlreadyCompletedError",
    "DaytonaConfig",
    "DaytonaConflictError",
    "DaytonaConnectionError",
    "DaytonaConnectionTimeoutError",
    "DaytonaError",
    "DaytonaFileAccessDeniedError",
    "DaytonaFileNotFoundError",
    "DaytonaFileReadFailedError",
    "DaytonaForbiddenError",
    "DaytonaGitAuthFailedError",
    "DaytonaGitBranchExistsError",
    "DaytonaGitBranchNotFoundError",
    "DaytonaGitDirtyWorktreeError",
    "DaytonaGitMergeConflictError",
    "DaytonaGitPushRejectedError",
    "DaytonaGitRemoteRejectedError",
    "DaytonaGitRepoNotFoundError",
    "DaytonaGitTransportFailedError",
    "DaytonaGoneError",
    "DaytonaInternalServerError",
    "DaytonaInvalidArgumentError",
    "DaytonaInvalidFilePathError",
    "DaytonaLspServerNotInitializedError",
    "DaytonaNotFoundError",
    "DaytonaProcessExecutionTimeoutError",
    "DaytonaProcessNotFoundError",
    "DaytonaQueueTimeoutError",
    "DaytonaRateLimitError",
    "DaytonaRecordingFfmpegNotFoundError",
    "DaytonaRecordingStillActiveError",
    "DaytonaResponseTooLargeError",
    "DaytonaSandboxDiedError",
    "DaytonaServiceUnavailableError",
    "DaytonaSessionEndedError",
    "DaytonaSpotEvictedError",
    "DaytonaTimeoutError",
    "DaytonaUnprocessableEntityError",
    "DaytonaUnsupportedError",
    "DaytonaValidationError",
    "DownloadProgress",
    "ExecStream",
    "ExecuteResponse",
    "ExecutionArtifacts",
    "ExecutionError",
    "ExecutionResult",
    "FileDownloadErrorDetails",
    "FileDownloadRequest",
    "FileDownloadResponse",
    "FileInfo",
    "FileStatus",
    "FileSystem",
    "FileUpload",
    "Git",
    "GitCommitResponse",
    "GitRemote",
    "GitStatus",
    "GpuType",
    "Image",
    "InterpreterContext",
    "LineChart",
    "ListBranchResponse",
    "ListRemotesResponse",
    "ListSandboxesQuery",
    "ListSecretsResponse",
    "LogStream",
    "LspCompletionPosition",
    "LspLanguageId",
    "LspLocation",
    "LspPosition",
    "LspRange",
    "LspServer",
    "LspSymbol",
    "Match",
    "Organization",
    "OrganizationUsage",
    "OutputChunk",
    "OutputHandler",
    "OutputMessage",
    "PaginatedSnapshots",
    "PieChart",
    "PoolConfig",
    "PortPreviewUrl",
    "Process",
    "PtyHandle",
    "PtyResult",
    "PtySessionInfo",
    "PtySize",
    "Quota",
    "Region",
    "RegionUsage",
    "Registry",
    "RegistryParams",
    "ReplaceResult",
    "Resources",
    "Result",
    "Sandbox",
    "SandboxClass",
    "SandboxDesiredState",
    "SandboxHandle",
    "SandboxListSortDirection",
    "SandboxListSortField",
    "SandboxMetrics",
    "SandboxProvider",
    "SandboxState",
    "SandboxVolume",
    "ScatterChart",
    "SearchFilesResponse",
    "Secret",
    "SecretService",
    "Session",
    "SessionCommandLogsResponse",
    "SessionExecuteRequest",
    "SessionExecuteResponse",
    "SignedPortPreviewUrl",
    "Snapshot",
    "SnapshotService",
    "SnapshotState",
    "SshAccessDto",
    "SshAccessValidationDto",
    "Status",
    "TerminalBackend",
    "TerminalConfig",
    "TerminalImage",
    "TerminalResult",
    "UpdateSecretParams",
    "UploadProgress",
    "Volume",
    "VolumeMount",
    "VolumeService",
    "WarmPool",
    "WarmPoolService",
    "WebhookPortal",
    "WebhookStatus",
    "parse_chart",
]


def __getattr__(name):  # noqa: ANN001, ANN202 - the types are in the stub
    """Load a name from its module."""
    home = _HOMES.get(name)
    if home is None:
        if name == "__version__":
            from importlib.metadata import version

            return version("daytona-native")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(home, globals(), None, [name], 1), name)
    globals()[name] = value
    return value


def __dir__():  # noqa: ANN202
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
