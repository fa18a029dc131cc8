from ._access import (
    PortPreviewUrl as PortPreviewUrl,
    SignedPortPreviewUrl as SignedPortPreviewUrl,
    SshAccessDto as SshAccessDto,
    SshAccessValidationDto as SshAccessValidationDto,
)
from ._admin import (
    ApiKey as ApiKey,
    AuditLog as AuditLog,
    AuditLogs as AuditLogs,
    CreatedApiKey as CreatedApiKey,
    Organization as Organization,
    OrganizationUsage as OrganizationUsage,
    Region as Region,
    RegionUsage as RegionUsage,
    Registry as Registry,
    RegistryParams as RegistryParams,
    WebhookPortal as WebhookPortal,
    WebhookStatus as WebhookStatus,
)
from ._async.api import (
    AsyncApi as AsyncApi,
)
from ._async.daytona import (
    AsyncDaytona as AsyncDaytona,
)
from ._async.exec_stream import (
    AsyncExecStream as AsyncExecStream,
)
from ._async.files import (
    AsyncFileSystem as AsyncFileSystem,
)
from ._async.git import (
    AsyncGit as AsyncGit,
)
from ._async.interpreter import (
    AsyncCodeInterpreter as AsyncCodeInterpreter,
)
from ._async.lsp import (
    AsyncLspServer as AsyncLspServer,
)
from ._async.process import (
    AsyncProcess as AsyncProcess,
)
from ._async.pty import (
    AsyncPtyHandle as AsyncPtyHandle,
)
from ._async.sandbox import (
    AsyncSandbox as AsyncSandbox,
)
from ._async.sandbox_provider import (
    AsyncSandboxProvider as AsyncSandboxProvider,
)
from ._async.secret import (
    AsyncSecretService as AsyncSecretService,
)
from ._async.session import (
    AsyncLogStream as AsyncLogStream,
)
from ._async.snapshot import (
    AsyncBuildLog as AsyncBuildLog,
    AsyncSnapshotService as AsyncSnapshotService,
)
from ._async.terminal_backend import (
    AsyncTerminalBackend as AsyncTerminalBackend,
)
from ._async.volume import (
    AsyncVolumeService as AsyncVolumeService,
)
from ._async.warm_pool import (
    AsyncWarmPoolService as AsyncWarmPoolService,
)
from ._chart import (
    BarChart as BarChart,
    BoxAndWhiskerChart as BoxAndWhiskerChart,
    Chart as Chart,
    ChartElement as ChartElement,
    ChartType as ChartType,
    CompositeChart as CompositeChart,
    LineChart as LineChart,
    PieChart as PieChart,
    ScatterChart as ScatterChart,
    parse_chart as parse_chart,
)
from ._enums import (
    CodeLanguage as CodeLanguage,
    GpuType as GpuType,
    SandboxClass as SandboxClass,
    SandboxDesiredState as SandboxDesiredState,
    SandboxListSortDirection as SandboxListSortDirection,
    SandboxListSortField as SandboxListSortField,
    SandboxState as SandboxState,
    SnapshotState as SnapshotState,
)
from ._errors import (
    DaytonaA11yUnavailableError as DaytonaA11yUnavailableError,
    DaytonaAuthenticationError as DaytonaAuthenticationError,
    DaytonaAuthorizationError as DaytonaAuthorizationError,
    DaytonaBadGatewayError as DaytonaBadGatewayError,
    DaytonaBadRequestError as DaytonaBadRequestError,
    DaytonaBuildFailedError as DaytonaBuildFailedError,
    DaytonaCommandAlreadyCompletedError as DaytonaCommandAlreadyCompletedError,
    DaytonaConflictError as DaytonaConflictError,
    DaytonaConnectionError as DaytonaConnectionError,
    DaytonaConnectionTimeoutError as DaytonaConnectionTimeoutError,
    DaytonaError as DaytonaError,
    DaytonaFileAccessDeniedError as DaytonaFileAccessDeniedError,
    DaytonaFileNotFoundError as DaytonaFileNotFoundError,
    DaytonaFileReadFailedError as DaytonaFileReadFailedError,
    DaytonaForbiddenError as DaytonaForbiddenError,
    DaytonaGitAuthFailedError as DaytonaGitAuthFailedError,
    DaytonaGitBranchExistsError as DaytonaGitBranchExistsError,
    DaytonaGitBranchNotFoundError as DaytonaGitBranchNotFoundError,
    DaytonaGitDirtyWorktreeError as DaytonaGitDirtyWorktreeError,
    DaytonaGitMergeConflictError as DaytonaGitMergeConflictError,
    DaytonaGitPushRejectedError as DaytonaGitPushRejectedError,
    DaytonaGitRemoteRejectedError as DaytonaGitRemoteRejectedError,
    DaytonaGitRepoNotFoundError as DaytonaGitRepoNotFoundError,
    DaytonaGitTransportFailedError as DaytonaGitTransportFailedError,
    DaytonaGoneError as DaytonaGoneError,
    DaytonaInternalServerError as DaytonaInternalServerError,
    DaytonaInvalidArgumentError as DaytonaInvalidArgumentError,
    DaytonaInvalidFilePathError as DaytonaInvalidFilePathError,
    DaytonaLspServerNotInitializedError as DaytonaLspServerNotInitializedError,
    DaytonaNotFoundError as DaytonaNotFoundError,
    DaytonaProcessExecutionTimeoutError as DaytonaProcessExecutionTimeoutError,
    DaytonaProcessNotFoundError as DaytonaProcessNotFoundError,
    DaytonaQueueTimeoutError as DaytonaQueueTimeoutError,
    DaytonaRateLimitError as DaytonaRateLimitError,
    DaytonaRecordingFfmpegNotFoundError as DaytonaRecordingFfmpegNotFoundError,
    DaytonaRecordingStillActiveError as DaytonaRecordingStillActiveError,
    DaytonaResponseTooLargeError as DaytonaResponseTooLargeError,
    DaytonaSandboxDiedError as DaytonaSandboxDiedError,
    DaytonaServiceUnavailableError as DaytonaServiceUnavailableError,
    DaytonaSessionEndedError as DaytonaSessionEndedError,
    DaytonaSpotEvictedError as DaytonaSpotEvictedError,
    DaytonaTimeoutError as DaytonaTimeoutError,
    DaytonaUnprocessableEntityError as DaytonaUnprocessableEntityError,
    DaytonaUnsupportedError as DaytonaUnsupportedError,
    DaytonaValidationError as DaytonaValidationError,
)
from ._git import (
    FileStatus as FileStatus,
    GitCommitResponse as GitCommitResponse,
    GitRemote as GitRemote,
    GitStatus as GitStatus,
    ListBranchResponse as ListBranchResponse,
    ListRemotesResponse as ListRemotesResponse,
    Status as Status,
)
from ._image import (
    Image as Image,
)
from ._interpreter import (
    ExecutionError as ExecutionError,
    ExecutionResult as ExecutionResult,
    InterpreterContext as InterpreterContext,
    OutputMessage as OutputMessage,
    Result as Result,
)
from ._lsp import (
    CompletionItem as CompletionItem,
    CompletionList as CompletionList,
    LspCompletionPosition as LspCompletionPosition,
    LspLanguageId as LspLanguageId,
    LspLocation as LspLocation,
    LspPosition as LspPosition,
    LspRange as LspRange,
    LspSymbol as LspSymbol,
)
from ._metrics import (
    SandboxMetrics as SandboxMetrics,
)
from ._native import (
    OutputChunk as OutputChunk,
)
from ._params import (
    CodeRunParams as CodeRunParams,
    CreateSandboxBaseParams as CreateSandboxBaseParams,
    CreateSandboxFromImageParams as CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams as CreateSandboxFromSnapshotParams,
    DaytonaConfig as DaytonaConfig,
    FileDownloadRequest as FileDownloadRequest,
    FileUpload as FileUpload,
    ListSandboxesQuery as ListSandboxesQuery,
    Resources as Resources,
    VolumeMount as VolumeMount,
)
from ._protocols import (
    OutputHandler as OutputHandler,
)
from ._pty import (
    PtyResult as PtyResult,
    PtySessionInfo as PtySessionInfo,
    PtySize as PtySize,
)
from ._results import (
    BuildInfo as BuildInfo,
    CancelEvent as CancelEvent,
    ContextUploadProgress as ContextUploadProgress,
    DownloadProgress as DownloadProgress,
    ExecuteResponse as ExecuteResponse,
    ExecutionArtifacts as ExecutionArtifacts,
    FileDownloadErrorDetails as FileDownloadErrorDetails,
    FileDownloadResponse as FileDownloadResponse,
    FileInfo as FileInfo,
    Match as Match,
    ReplaceResult as ReplaceResult,
    SandboxVolume as SandboxVolume,
    SearchFilesResponse as SearchFilesResponse,
    UploadProgress as UploadProgress,
)
from ._sandbox_provider import (
    CapabilityProfile as CapabilityProfile,
    CapacityRegion as CapacityRegion,
    PoolConfig as PoolConfig,
    Quota as Quota,
    SandboxHandle as SandboxHandle,
)
from ._secret import (
    CreateSecretParams as CreateSecretParams,
    ListSecretsResponse as ListSecretsResponse,
    Secret as Secret,
    UpdateSecretParams as UpdateSecretParams,
)
from ._session import (
    Command as Command,
    Session as Session,
    SessionCommandLogsResponse as SessionCommandLogsResponse,
    SessionExecuteRequest as SessionExecuteRequest,
    SessionExecuteResponse as SessionExecuteResponse,
)
from ._snapshot import (
    CreateSnapshotParams as CreateSnapshotParams,
    PaginatedSnapshots as PaginatedSnapshots,
    Snapshot as Snapshot,
)
from ._sync.api import (
    Api as Api,
)
from ._sync.daytona import (
    Daytona as Daytona,
)
from ._sync.exec_stream import (
    ExecStream as ExecStream,
)
from ._sync.files import (
    FileSystem as FileSystem,
)
from ._sync.git import (
    Git as Git,
)
from ._sync.interpreter import (
    CodeInterpreter as CodeInterpreter,
)
from ._sync.lsp import (
    LspServer as LspServer,
)
from ._sync.process import (
    Process as Process,
)
from ._sync.pty import (
    PtyHandle as PtyHandle,
)
from ._sync.sandbox import (
    Sandbox as Sandbox,
)
from ._sync.sandbox_provider import (
    SandboxProvider as SandboxProvider,
)
from ._sync.secret import (
    SecretService as SecretService,
)
from ._sync.session import (
    LogStream as LogStream,
)
from ._sync.snapshot import (
    BuildLog as BuildLog,
    SnapshotService as SnapshotService,
)
from ._sync.terminal_backend import (
    TerminalBackend as TerminalBackend,
)
from ._sync.volume import (
    VolumeService as VolumeService,
)
from ._sync.warm_pool import (
    WarmPoolService as WarmPoolService,
)
from ._terminal_backend import (
    TerminalConfig as TerminalConfig,
    TerminalImage as TerminalImage,
    TerminalResult as TerminalResult,
)
from ._volume import (
    Volume as Volume,
)
from ._warm_pool import (
    WarmPool as WarmPool,
)

__version__: str
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
