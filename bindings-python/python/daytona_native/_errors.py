"""The exceptions. What a server answers decides the class: first its ``code``, then its status.

The core's table is the same one; a test compares them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SOURCE_API = "DAYTONA_API"
SOURCE_DAEMON = "DAYTONA_DAEMON"
SOURCE_PROXY = "DAYTONA_PROXY"


class DaytonaError(Exception):
    """Anything that went wrong.

    Attributes:
        message: What failed, why, and what to do next where that is known; the same as ``str(error)``.
        status_code: HTTP status of the answer; ``None`` if there was none.
        code: Stable name that the server gave the error, such as ``FILE_NOT_FOUND``.
        source: Which service failed: ``DAYTONA_API``, ``DAYTONA_DAEMON`` or ``DAYTONA_PROXY``.
        headers: Headers of the answer, names in lower case.
        request_id: Id under which the server logged the request.
        operation: The method that failed, such as ``process.exec``.
        sandbox_id: The sandbox concerned; after a failed ``create`` the one that was made.
        attempts: How often the request was sent, from 1.
    """

    request_id: str | None = None
    operation: str | None = None
    sandbox_id: str | None = None
    attempts: int = 1

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        headers: Mapping[str, Any] | None = None,
        code: str | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.headers: dict[str, Any] = dict(headers or {})
        self.code = code
        self.source = source

    @property
    def error_code(self) -> str | None:
        """Deprecated: use ``code``."""
        from warnings import warn

        warn("error_code is deprecated; use code", DeprecationWarning, stacklevel=2)
        return self.code


class DaytonaBadRequestError(DaytonaError):
    """400: the server refused what the request says."""


DaytonaValidationError = DaytonaBadRequestError


class DaytonaInvalidArgumentError(DaytonaBadRequestError):
    """An argument that cannot be right; nothing was sent."""


class DaytonaAuthenticationError(DaytonaError):
    """401, or no credentials found."""


class DaytonaForbiddenError(DaytonaError):
    """403: these credentials may not do that."""


DaytonaAuthorizationError = DaytonaForbiddenError


class DaytonaNotFoundError(DaytonaError):
    """404: no such thing."""


class DaytonaTimeoutError(DaytonaError):
    """408, 504, or a time limit of this client."""


class DaytonaConflictError(DaytonaError):
    """409: not in this state, or the name is taken."""


class DaytonaGoneError(DaytonaError):
    """410: was there and is over."""


class DaytonaUnprocessableEntityError(DaytonaError):
    """422: understood, and cannot be done."""


class DaytonaRateLimitError(DaytonaError):
    """429: too many requests; ``headers`` may say when to come back."""


class DaytonaInternalServerError(DaytonaError):
    """500: the server failed."""


class DaytonaUnsupportedError(DaytonaError):
    """501: this server cannot do that."""


class DaytonaBadGatewayError(DaytonaError):
    """502: what stands behind the server failed."""


class DaytonaServiceUnavailableError(DaytonaError):
    """503: not now."""


class DaytonaConnectionError(DaytonaError):
    """The connection could not be made, or broke."""


class DaytonaResponseTooLargeError(DaytonaError):
    """The answer is longer than what this client holds in memory."""


class DaytonaConnectionTimeoutError(DaytonaConnectionError, DaytonaTimeoutError):
    """No answer in time."""


class DaytonaSandboxDiedError(DaytonaConnectionError):
    """The sandbox stopped, was deleted or died while the call was under way."""


class DaytonaQueueTimeoutError(DaytonaTimeoutError):
    """The sandbox waited too long for capacity and was destroyed."""


class DaytonaBuildFailedError(DaytonaError):
    """The image of a sandbox or a snapshot could not be built."""


class DaytonaSpotEvictedError(DaytonaError):
    """The provider took the sandbox back."""


class DaytonaGitAuthFailedError(DaytonaAuthenticationError):
    """Wrong credentials for the git remote."""


class DaytonaGitRepoNotFoundError(DaytonaNotFoundError):
    """No git repository there."""


class DaytonaGitBranchNotFoundError(DaytonaNotFoundError):
    """No such branch."""


class DaytonaGitBranchExistsError(DaytonaConflictError):
    """The branch is there already."""


class DaytonaGitPushRejectedError(DaytonaConflictError):
    """The remote has commits that are missing here."""


class DaytonaGitDirtyWorktreeError(DaytonaConflictError):
    """Uncommitted changes are in the way."""


class DaytonaGitMergeConflictError(DaytonaConflictError):
    """The histories conflict."""


class DaytonaGitTransportFailedError(DaytonaBadGatewayError):
    """The git remote is not in reach."""


class DaytonaGitRemoteRejectedError(DaytonaUnprocessableEntityError):
    """The git remote refused."""


class DaytonaFileNotFoundError(DaytonaNotFoundError):
    """No such file."""


class DaytonaFileAccessDeniedError(DaytonaForbiddenError):
    """The sandbox's user may not do that to this file."""


class DaytonaInvalidFilePathError(DaytonaBadRequestError):
    """Not a usable path."""


class DaytonaFileReadFailedError(DaytonaInternalServerError):
    """The file is there and could not be read."""


class DaytonaLspServerNotInitializedError(DaytonaBadRequestError):
    """The language server was used before it was started."""


class DaytonaProcessExecutionTimeoutError(DaytonaTimeoutError):
    """The command ran over its time limit and was killed."""


class DaytonaProcessNotFoundError(DaytonaNotFoundError):
    """No such process, session or command."""


class DaytonaSessionEndedError(DaytonaGoneError):
    """The session's shell has ended."""


class DaytonaCommandAlreadyCompletedError(DaytonaGoneError):
    """The command takes no input any more."""


class DaytonaA11yUnavailableError(DaytonaServiceUnavailableError):
    """No accessibility service in the sandbox."""


class DaytonaRecordingStillActiveError(DaytonaConflictError):
    """The recording has to be stopped first."""


class DaytonaRecordingFfmpegNotFoundError(DaytonaServiceUnavailableError):
    """ffmpeg is not installed in the sandbox."""


def from_native(
    class_name: str,
    message: str,
    failure: str | None,
    status_code: int | None,
    headers: dict[str, str],
    code: str | None,
    source: str | None,
    request_id: str | None,
    operation: str | None,
    sandbox_id: str | None,
    attempts: int,
) -> DaytonaError:
    """Make the exception of an error of the core; ``failure`` says what was being done."""
    kind: type[DaytonaError] = globals().get(class_name, DaytonaError)
    error = kind(f"{failure}: {message}" if failure else message, status_code, headers, code, source)
    error.request_id = request_id
    error.operation = operation
    error.sandbox_id = sandbox_id
    error.attempts = attempts
    return error
