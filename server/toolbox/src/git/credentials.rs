//! Credentials on their way to git, and out of everything else.
//!
//! git asks a helper for them, a few lines of shell that pass the question on through a socket which git and what it
//! starts inherit. The agent answers on the other end, for one host, as long as git runs: the credentials are in no
//! file, no argument and no environment, and nothing else can open the socket.

use std::os::unix::net::UnixStream as Socket;

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Moves the socket from stdin to where the helper looks for it.
pub(super) const WRAPPER: &str = r#"exec 9<&0 </dev/null; exec "$@""#;

/// Asks for credentials with git's own questions. One letter at a time: nothing but the shell is needed.
pub(super) const HELPER: &str = "credential.helper=!f() { test \"$1\" = get || exit 0; \
    while IFS= read -r line; do printf '%s\\n' \"$line\"; done >&9; echo >&9; \
    while IFS= read -r line <&9 && test -n \"$line\"; do printf '%s\\n' \"$line\"; done; }; f";

/// The longest question.
const LONGEST: usize = 64 << 10;

/// Who somebody is, and for whom.
#[derive(Clone)]
pub(super) struct Credentials {
    username: String,
    password: String,
    protocol: String,
    host: String,
}

impl Credentials {
    /// Those that were given with the call, or with the URL; `None` without any, and for what is not HTTP.
    pub(super) fn new(url: &Url, username: Option<String>, password: Option<String>) -> Result<Option<Self>> {
        let given = username.is_some() || password.is_some();
        let (username, password) = if given { (username, password) } else { url.user.clone() };
        for (name, value) in [("user name", &username), ("password", &password)] {
            if value.as_deref().is_some_and(|value| value.contains(['\n', '\r', '\0'])) {
                return Err(Error::bad_request(format!("the {name} holds a line break or a NUL byte; remove it")));
            }
        }
        let Some((protocol, host)) = url.http.clone() else { return Ok(None) };
        let (username, password) = (username.filter(|one| !one.is_empty()), password.filter(|one| !one.is_empty()));
        Ok((username.is_some() || password.is_some()).then(|| Self {
            // For those that look at the token alone.
            username: username.unwrap_or_else(|| "git".to_owned()),
            password: password.unwrap_or_default(),
            protocol,
            host,
        }))
    }

    /// Puts `***` for them.
    pub(super) fn hide(&self, text: &str) -> String {
        if self.password.is_empty() { text.to_owned() } else { text.replace(&self.password, "***") }
    }

    /// Whether the question is about the host that they are for.
    fn answers(&self, question: &[String]) -> bool {
        let asked = |name: &str| question.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let protocol = asked("protocol").unwrap_or_default();
        asked("host").is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            // An answer that leads from http to https may be followed.
            && (protocol == self.protocol || protocol == "https")
    }
}

/// Where a repository is.
pub(super) struct Url {
    /// Without credentials.
    pub(super) text: String,
    /// Scheme and host of an HTTP URL, with its port.
    http: Option<(String, String)>,
    user: (Option<String>, Option<String>),
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::bad_request("the URL is empty; give the URL or the path of a repository"));
        }
        if text.starts_with('-') || text.contains(char::is_control) {
            return Err(Error::bad_request("that is no URL of a repository: it starts with - or has a line break"));
        }
        let plain = Self { text: text.to_owned(), http: None, user: (None, None) };
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(plain) };
        let scheme = scheme.to_ascii_lowercase();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let (name, password) = match user.map(|user| user.split_once(':').map_or((user, None), |(n, p)| (n, Some(p)))) {
            Some((name, password)) => (Some(name), password),
            None => (None, None),
        };
        if matches!(scheme.as_str(), "http" | "https") {
            return Ok(Self {
                text: format!("{scheme}://{host}{path}"),
                http: Some((scheme, host.to_owned())),
                user: (name.map(decode), password.map(decode)),
            });
        }
        // SSH has a user and takes no password.
        let text = name.filter(|_| password.is_some()).map(|name| format!("{scheme}://{name}@{host}{path}"));
        Ok(Self { text: text.unwrap_or(plain.text), ..plain })
    }
}

/// Takes credentials out of all URLs in a text.
pub(super) fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c == '\'' || c == '"' || c.is_whitespace()).unwrap_or(after.len());
        let host = after[..end].rfind('@').map_or(0, |at| at + 1);
        rest = &after[host..];
    }
    out + rest
}

/// Answers the helper until it is dropped.
pub(super) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Gives the helper's end.
    pub(super) fn start(credentials: Credentials) -> std::io::Result<(Self, Socket)> {
        let (ours, theirs) = Socket::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        Ok((Self(tokio::spawn(serve(ours, credentials))), theirs))
    }
}

async fn serve(mut socket: UnixStream, credentials: Credentials) {
    let (read, mut write) = socket.split();
    let mut lines = BufReader::with_capacity(4 << 10, read).lines();
    let mut question = Vec::new();
    let mut length = 0;
    while let Ok(Some(line)) = lines.next_line().await {
        length += line.len();
        if length > LONGEST {
            return;
        }
        if !line.is_empty() {
            question.push(line);
            continue;
        }
        let answer = if credentials.answers(&question) {
            format!("username={}\npassword={}\n\n", credentials.username, credentials.password)
        } else {
            "\n".to_owned()
        };
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        question.clear();
        length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, the scheme and host of an HTTP URL, the user and password.
    type Parts = (String, Option<(String, String)>, (Option<String>, Option<String>));

    fn parsed(text: &str) -> Parts {
        let url = Url::parse(text).unwrap();
        (url.text, url.http, url.user)
    }

    #[test]
    fn urls_lose_their_credentials() {
        let http = |scheme: &str, host: &str| Some((scheme.to_owned(), host.to_owned()));
        let user = |name: &str, password: Option<&str>| (Some(name.to_owned()), password.map(str::to_owned));
        assert_eq!(
            parsed("https://me:p%40ss@host:8443/a/b.git"),
            ("https://host:8443/a/b.git".into(), http("https", "host:8443"), user("me", Some("p@ss")))
        );
        assert_eq!(
            parsed("HTTPS://ghp_token@Host/x@y"),
            ("https://Host/x@y".into(), http("https", "Host"), user("ghp_token", None))
        );
        assert_eq!(parsed("http://host"), ("http://host".into(), http("http", "host"), (None, None)));
        assert_eq!(parsed("http://a:b@c@host/"), ("http://host/".into(), http("http", "host"), user("a", Some("b@c"))));
        for same in ["git@host:a/b.git", "ssh://git@host/a", "/path/to@x", "file:///x@y/z", "../rel"] {
            assert_eq!(parsed(same), (same.to_owned(), None, (None, None)));
        }
        assert_eq!(parsed("ssh://git:pw@host/a").0, "ssh://git@host/a");
        for bad in ["", "-u", "--upload-pack=x", "http://a\nb", "a\0"] {
            assert!(Url::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn texts_lose_them_too() {
        let text = "fatal: unable to access 'https://me:p@ss@host/x/': ssh://git@b and https://c/@d";
        assert_eq!(scrub(text), "fatal: unable to access 'https://host/x/': ssh://b and https://c/@d");
        assert_eq!(scrub("nothing"), "nothing");
    }

    #[tokio::test]
    async fn only_the_host_that_they_are_for_gets_them() {
        let url = Url::parse("http://host:80/x").unwrap();
        let credentials = Credentials::new(&url, Some("me".into()), Some("pw".into())).unwrap().unwrap();
        let (_server, socket) = Server::start(credentials).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut socket = UnixStream::from_std(socket).unwrap();
        socket.write_all(b"protocol=http\nhost=other\n\nprotocol=http\nhost=host:80\n\n").await.unwrap();
        let (read, _write) = socket.split();
        let mut lines = BufReader::new(read).lines();
        let mut answer = Vec::new();
        while answer.len() < 4 {
            answer.push(lines.next_line().await.unwrap().unwrap());
        }
        assert_eq!(answer, ["", "username=me", "password=pw", ""]);
        assert!(Credentials::new(&url, None, None).unwrap().is_none());
        assert!(Credentials::new(&url, Some("a\nhost=b".into()), None).is_err());
        assert!(Credentials::new(&Url::parse("/path").unwrap(), Some("a".into()), None).unwrap().is_none());
    }
}
