//! One error type for everything.

use std::fmt::{self, Write as _};

use daytona_wire::error::{ErrorBody, code};
use http::{HeaderMap, StatusCode};

use crate::operation::Operation;

/// What every operation returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What to do after [`code::AGENT_RESTARTED`].
const CALL_AGAIN: &str = "Call again if what it had done until then may be done twice";

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $class:literal < $parent:ident, $status:expr, $code:expr;)*) => {
        /// What went wrong. Each kind is one error class in Python and Node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            /// Anything else (`DaytonaError`).
            Other,
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [ErrorKind] = &[ErrorKind::Other, $(ErrorKind::$kind,)*];

            /// The error class, the same name in both languages.
            pub const fn class_name(self) -> &'static str {
                match self { Self::Other => "DaytonaError", $(Self::$kind => $class,)* }
            }

            /// The kind whose class this kind's class extends. [`ErrorKind::Other`] is its own parent.
            #[must_use]
            pub const fn parent(self) -> ErrorKind {
                match self { Self::Other => Self::Other, $(Self::$kind => Self::$parent,)* }
            }

            /// The status that selects this kind where no code does.
            const fn status(self) -> Option<u16> {
                match self { Self::Other => None, $(Self::$kind => $status,)* }
            }

            /// The `code` of a server's answer that selects this kind.
            pub const fn code(self) -> Option<&'static str> {
                match self { Self::Other => None, $(Self::$kind => $code,)* }
            }
        }
    };
}

kinds! {
    /// 400: the server refused the request's content.
    BadRequest = "DaytonaValidationError" < Other, Some(400), None;
    /// Refused by this client before anything was sent.
    InvalidArgument = "DaytonaInvalidArgumentError" < BadRequest, None, None;
    /// 401: no or wrong credentials.
    Authentication = "DaytonaAuthenticationError" < Other, Some(401), None;
    /// 403: not allowed.
    Forbidden = "DaytonaAuthorizationError" < Other, Some(403), None;
    /// 404: no such thing.
    NotFound = "DaytonaNotFoundError" < Other, Some(404), None;
    /// 408, 504, and time limits of this client.
    Timeout = "DaytonaTimeoutError" < Other, Some(408), None;
    /// 409: not in this state, or the name is taken.
    Conflict = "DaytonaConflictError" < Other, Some(409), None;
    /// 410: was there, is over.
    Gone = "DaytonaGoneError" < Other, Some(410), None;
    /// 422: understood, cannot be done.
    UnprocessableEntity = "DaytonaUnprocessableEntityError" < Other, Some(422), None;
    /// 429: too many requests.
    RateLimit = "DaytonaRateLimitError" < Other, Some(429), None;
    /// 500: the server failed.
    InternalServer = "DaytonaInternalServerError" < Other, Some(500), None;
    /// 501: this server cannot do that.
    Unsupported = "DaytonaUnsupportedError" < Other, Some(501), None;
    /// 502: what stands behind the server failed.
    BadGateway = "DaytonaBadGatewayError" < Other, Some(502), None;
    /// 503: not now.
    ServiceUnavailable = "DaytonaServiceUnavailableError" < Other, Some(503), None;
    /// The answer is longer than what this client holds in memory.
    ResponseTooLarge = "DaytonaResponseTooLargeError" < Other, None, None;
    /// The connection could not be made, or broke.
    Connection = "DaytonaConnectionError" < Other, None, None;
    /// No answer in time.
    ConnectionTimeout = "DaytonaConnectionTimeoutError" < Connection, None, None;
    /// The sandbox stopped, was deleted or died while the call was under way, or all that ran in it was killed.
    SandboxDied = "DaytonaSandboxDiedError" < Connection, None, Some(code::SANDBOX_STOPPED);
    /// The sandbox waited too long for capacity.
    QueueTimeout = "DaytonaQueueTimeoutError" < Timeout, None, None;
    /// The image of a sandbox or a snapshot could not be built.
    BuildFailed = "DaytonaBuildFailedError" < Other, None, None;
    /// The provider took the sandbox back.
    SpotEvicted = "DaytonaSpotEvictedError" < Other, None, None;
    /// Wrong credentials for a git remote.
    GitAuthFailed = "DaytonaGitAuthFailedError" < Authentication, None, Some(code::GIT_AUTH_FAILED);
    /// No git repository there.
    GitRepoNotFound = "DaytonaGitRepoNotFoundError" < NotFound, None, Some(code::GIT_REPO_NOT_FOUND);
    /// No such branch.
    GitBranchNotFound = "DaytonaGitBranchNotFoundError" < NotFound, None, Some(code::GIT_BRANCH_NOT_FOUND);
    /// The branch is there already.
    GitBranchExists = "DaytonaGitBranchExistsError" < Conflict, None, Some(code::GIT_BRANCH_EXISTS);
    /// The remote has commits that are missing here.
    GitPushRejected = "DaytonaGitPushRejectedError" < Conflict, None, Some(code::GIT_PUSH_REJECTED);
    /// Uncommitted changes are in the way.
    GitDirtyWorktree = "DaytonaGitDirtyWorktreeError" < Conflict, None, Some(code::GIT_DIRTY_WORKTREE);
    /// The histories conflict.
    GitMergeConflict = "DaytonaGitMergeConflictError" < Conflict, None, Some(code::GIT_MERGE_CONFLICT);
    /// The git remote is not in reach.
    GitTransportFailed = "DaytonaGitTransportFailedError" < BadGateway, None, Some(code::GIT_TRANSPORT_FAILED);
    /// The git remote refused.
    GitRemoteRejected = "DaytonaGitRemoteRejectedError" < UnprocessableEntity, None, Some(code::GIT_REMOTE_REJECTED);
    /// No such file.
    FileNotFound = "DaytonaFileNotFoundError" < NotFound, None, Some(code::FILE_NOT_FOUND);
    /// The sandbox's user may not do that to this file.
    FileAccessDenied = "DaytonaFileAccessDeniedError" < Forbidden, None, Some(code::FILE_ACCESS_DENIED);
    /// Not a usable path.
    InvalidFilePath = "DaytonaInvalidFilePathError" < BadRequest, None, Some(code::INVALID_FILE_PATH);
    /// The file is there and could not be read.
    FileReadFailed = "DaytonaFileReadFailedError" < InternalServer, None, Some(code::FILE_READ_FAILED);
    /// The language server was used before it was started.
    LspServerNotInitialized = "DaytonaLspServerNotInitializedError" < BadRequest, None, Some(code::LSP_SERVER_NOT_INITIALIZED);
    /// The command ran over its time limit and was killed.
    ProcessExecutionTimeout = "DaytonaProcessExecutionTimeoutError" < Timeout, None, Some(code::PROCESS_EXECUTION_TIMEOUT);
    /// No such process, session or command.
    ProcessNotFound = "DaytonaProcessNotFoundError" < NotFound, None, Some(code::PROCESS_NOT_FOUND);
    /// The session's shell has ended.
    SessionEnded = "DaytonaSessionEndedError" < Gone, None, Some(code::SESSION_ENDED);
    /// The command takes no input any more.
    CommandAlreadyCompleted = "DaytonaCommandAlreadyCompletedError" < Gone, None, Some(code::COMMAND_ALREADY_COMPLETED);
    /// No accessibility service in the sandbox.
    A11yUnavailable = "DaytonaA11yUnavailableError" < ServiceUnavailable, None, Some("A11Y_UNAVAILABLE");
    /// The recording has to be stopped first.
    RecordingStillActive = "DaytonaRecordingStillActiveError" < Conflict, None, Some("RECORDING_STILL_ACTIVE");
    /// ffmpeg is not installed in the sandbox.
    RecordingFfmpegNotFound = "DaytonaRecordingFfmpegNotFoundError" < ServiceUnavailable, None, Some("RECORDING_FFMPEG_NOT_FOUND");
}

impl ErrorKind {
    /// The kind an answer has: by its code, else by its status.
    pub fn from_answer(status: u16, code: Option<&str>) -> Self {
        if matches!(code, Some(code::SANDBOX_DESTROYED | code::AGENT_RESTARTED)) {
            return Self::SandboxDied;
        }
        let by_code = code.and_then(|code| Self::ALL.iter().find(|kind| kind.code() == Some(code)));
        let status = if status == 504 { 408 } else { status };
        by_code.or_else(|| Self::ALL.iter().find(|kind| kind.status() == Some(status))).copied().unwrap_or(Self::Other)
    }

    /// True if the kind is `other` or extends it.
    pub fn is(self, other: ErrorKind) -> bool {
        let mut kind = self;
        loop {
            // The one class with two parents: it is a connection error and a timeout.
            if kind == other || (kind == Self::ConnectionTimeout && other == Self::Timeout) {
                return true;
            }
            if kind == Self::Other {
                return false;
            }
            kind = kind.parent();
        }
    }
}

/// What went wrong, where, and what is known about it.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    status: Option<u16>,
    code: Option<String>,
    source: Option<String>,
    headers: Vec<(String, String)>,
    operation: Option<Operation>,
    attempts: u32,
    sandbox_id: Option<String>,
    is_unsent: bool,
    /// The agent that a broken connection has led to.
    agent: Option<String>,
    cause: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            status: None,
            code: None,
            source: None,
            headers: Vec::new(),
            operation: None,
            attempts: 1,
            sandbox_id: None,
            is_unsent: false,
            agent: None,
            cause: None,
        }))
    }

    /// A refusal before anything is sent.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// An error of a callback or stream that the caller gave.
    pub fn caller(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, message)
    }

    /// Reads a non-2xx answer; the body need not be JSON and may be empty.
    pub(crate) fn from_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let fields: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let message = text("message")
            .or_else(|| joined(fields.get("message")))
            .or_else(|| joined(fields.get("errors")).map(|all| format!("{}: {all}", status.as_u16())))
            .or_else(|| text("error"))
            .or_else(|| xml(body, "Message"))
            .unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
        let message = if message.is_empty() {
            let reason = status.canonical_reason().unwrap_or("unknown status");
            format!("the server answered {} {reason} without a message", status.as_u16())
        } else {
            message
        };
        let code = text("code").or_else(|| text("error_code")).or_else(|| xml(body, "Code"));
        let mut error = Self::new(ErrorKind::from_answer(status.as_u16(), code.as_deref()), message);
        if code.as_deref() == Some(code::AGENT_RESTARTED) {
            error = error.with_hint(CALL_AGAIN);
        }
        error.0.status = Some(status.as_u16());
        error.0.code = code;
        error.0.source = text("source");
        error.0.headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        error
    }

    /// An error that an answer carries inside a successful response.
    pub(crate) fn from_body(body: ErrorBody) -> Self {
        let mut error = Self::new(ErrorKind::from_answer(body.status_code, body.code.as_deref()), body.message);
        error.0.status = (body.status_code != 0).then_some(body.status_code);
        error.0.code = body.code;
        error.0.source = body.source;
        error
    }

    pub(crate) fn with_operation(mut self, operation: Operation) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// The same failure as part of something larger.
    pub(crate) fn within(mut self, operation: Operation, what: &str) -> Self {
        self.0.operation = Some(operation);
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same failure of something else than the server, with what it said.
    pub(crate) fn of_connection(mut self, what: &str) -> Self {
        self.0.kind = ErrorKind::Connection;
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    pub(crate) fn with_sandbox(mut self, id: impl Into<String>) -> Self {
        self.0.sandbox_id = Some(id.into());
        self
    }

    /// The request never reached a server.
    pub(crate) fn unsent(mut self) -> Self {
        self.0.is_unsent = true;
        self
    }

    pub(crate) fn was_not_sent(&self) -> bool {
        self.0.is_unsent
    }

    /// Names the sandbox of the call, unless another one is named already.
    pub(crate) fn of_sandbox(mut self, id: &str) -> Self {
        self.0.sandbox_id.get_or_insert_with(|| id.to_owned());
        self
    }

    pub(crate) fn with_cause(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(std::sync::Arc::new(cause));
        self
    }

    /// The connection that broke has led to this agent.
    pub(crate) fn of_agent(mut self, agent: Option<String>) -> Self {
        self.0.agent = agent;
        self
    }

    pub(crate) fn agent(&self) -> Option<&str> {
        self.0.agent.as_deref()
    }

    /// The status, code and headers of what has caused it, as far as there was an answer.
    pub(crate) fn after(mut self, cause: Self) -> Self {
        let inner = &mut self.0;
        inner.status = inner.status.or(cause.0.status);
        if inner.code.is_none() {
            inner.code.clone_from(&cause.0.code);
        }
        inner.source = inner.source.take().or_else(|| cause.0.source.clone());
        inner.headers.clone_from(&cause.0.headers);
        self.with_cause(cause)
    }

    /// The end of a call whose sandbox goes on: what ran in it was killed.
    pub(crate) fn killed(sandbox_id: &str) -> Self {
        let text = format!(
            "what ran in Sandbox {sandbox_id} was killed, and this call with it: by `kill -9 -1`, say, or for want of \
             memory. The sandbox goes on and its files are kept; sessions, terminals and interpreters have to be made \
             again"
        );
        let mut error = Self::new(ErrorKind::SandboxDied, text).with_hint(CALL_AGAIN).with_sandbox(sandbox_id);
        error.0.status = Some(StatusCode::BAD_GATEWAY.as_u16());
        error.0.code = Some(code::AGENT_RESTARTED.to_owned());
        error
    }

    /// Which error class this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What went wrong, without the operation: the server's own words where it sent some, then the
    /// number of attempts if there were several, then what to do next if that is known.
    pub fn message(&self) -> String {
        let mut text = self.0.message.clone();
        if self.0.attempts > 1 {
            let _ = write!(text, " (after {} attempts)", self.0.attempts);
        }
        if let Some(hint) = &self.0.hint {
            text.push_str(if text.ends_with('.') { " " } else { ". " });
            text.push_str(hint);
        }
        text
    }

    /// The status of the answer; `None` if there was none.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The stable name a server gave the error.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Which service failed: `DAYTONA_API`, `DAYTONA_DAEMON` or `DAYTONA_PROXY`.
    pub fn source_name(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// The headers of the answer, names in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.0.headers
    }

    /// The id under which the server logged the request.
    pub fn request_id(&self) -> Option<&str> {
        const NAMES: [&str; 3] = ["x-request-id", "x-daytona-request-id", "cf-ray"];
        NAMES
            .iter()
            .find_map(|name| self.0.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str()))
    }

    /// The operation that failed.
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// How often the request was sent; 1 if it was not repeated.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The sandbox a create call made before it failed.
    pub fn sandbox_id(&self) -> Option<&str> {
        self.0.sandbox_id.as_deref()
    }
}

/// A field of an error of an object storage.
fn xml(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let begin = text.find("<Error>")?;
    let (_, rest) = text[begin..].split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim().to_owned())
}

fn joined(value: Option<&serde_json::Value>) -> Option<String> {
    let lines: Vec<&str> = value?.as_array()?.iter().filter_map(serde_json::Value::as_str).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// One line for a person.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "{}: ", operation.failure)?;
        }
        f.write_str(&self.message())
    }
}

/// Everything that is known, a line each.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {self}", self.0.kind.class_name())?;
        if let Some(operation) = self.0.operation {
            writeln!(f, "  operation: {}", operation.name)?;
        }
        for (name, value) in [
            ("status", self.0.status.map(|status| status.to_string())),
            ("code", self.0.code.clone()),
            ("source", self.0.source.clone()),
            ("request id", self.request_id().map(str::to_owned)),
            ("sandbox", self.0.sandbox_id.clone()),
        ] {
            if let Some(value) = value {
                writeln!(f, "  {name}: {value}")?;
            }
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            writeln!(f, "  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_beats_status_and_status_beats_nothing() {
        assert_eq!(ErrorKind::from_answer(404, Some("FILE_NOT_FOUND")), ErrorKind::FileNotFound);
        assert_eq!(ErrorKind::from_answer(404, Some("NEW_CODE")), ErrorKind::NotFound);
        assert_eq!(ErrorKind::from_answer(504, None), ErrorKind::Timeout);
        assert_eq!(ErrorKind::from_answer(418, None), ErrorKind::Other);
    }

    #[test]
    fn hierarchy() {
        assert!(ErrorKind::FileNotFound.is(ErrorKind::NotFound));
        assert!(ErrorKind::FileNotFound.is(ErrorKind::Other));
        assert!(ErrorKind::ConnectionTimeout.is(ErrorKind::Timeout));
        assert!(ErrorKind::ConnectionTimeout.is(ErrorKind::Connection));
        assert!(!ErrorKind::Connection.is(ErrorKind::Timeout));
    }

    #[test]
    fn bodies_of_every_age_are_read() {
        let read = |status, body: &str| {
            Error::from_response(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
        };
        assert_eq!(read(400, r#"{"message":["a","b"],"statusCode":400}"#).message(), "a; b");
        assert_eq!(read(400, r#"{"errors":["x: denied"],"files":[]}"#).message(), "400: x: denied");
        assert_eq!(read(404, r#"{"error":"gone fishing"}"#).message(), "gone fishing");
        assert_eq!(read(404, r#"{"message":"m","error_code":"FILE_NOT_FOUND"}"#).kind(), ErrorKind::FileNotFound);
        assert_eq!(read(502, "<html>bad</html>").message(), "<html>bad</html>");
        let denied = read(403, "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>");
        assert_eq!((denied.code(), denied.message().as_str()), (Some("AccessDenied"), "no"));
        assert!(read(403, "").message().contains("403 Forbidden"));
    }
}
