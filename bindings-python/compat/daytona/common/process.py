"""Parameters and results of commands."""

from daytona_native import (
    CodeRunParams as CodeRunParams,
    ExecuteResponse as ExecuteResponse,
    ExecutionArtifacts as ExecutionArtifacts,
    OutputHandler as OutputHandler,
    SessionCommandLogsResponse as SessionCommandLogsResponse,
    SessionExecuteRequest as SessionExecuteRequest,
    SessionExecuteResponse as SessionExecuteResponse,
)
