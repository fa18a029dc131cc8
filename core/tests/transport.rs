//! What the transport does when servers and networks misbehave, against a scripted server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daytona_core::{
    Config, CreateOptions, CreateParams, Daytona, Download, DownloadTarget, Error, ErrorKind, ExecOptions, ListQuery,
    ListSecretsQuery, Sandbox, Transfer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What the server does with one request.
#[derive(Clone)]
enum Step {
    /// Sends this and keeps the connection.
    Answer(String),
    /// Closes without a word.
    Close,
    /// Sends this, then more and more of the same byte until the client has had enough; tells how much it was.
    Endless(String, mpsc::UnboundedSender<usize>),
    /// Says nothing and tells the test when the client has gone.
    Silence(mpsc::UnboundedSender<()>),
}

fn answer(status: &str, headers: &str, body: &str) -> Step {
    Step::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
}

fn sandbox() -> Step {
    answer("200 OK", "", r#"{"id":"s1","state":"started","toolboxProxyUrl":""}"#)
}

struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

/// Answers request after request, on however many connections, with the next step.
async fn serve(steps: Vec<Step>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, None, steps.clone(), Arc::clone(&counter)));
        }
    });
    Server { url, requests }
}

/// `known` is what is told of the sandbox, by requests that do not count: also whoever looks after a call asks for it.
async fn converse(mut stream: TcpStream, known: Option<String>, steps: Vec<Step>, counter: Arc<AtomicUsize>) {
    while let Some(head) = read_request(&mut stream).await {
        if let Some(known) = &known
            && head.starts_with("get /api/s")
        {
            let (status, body) = if head.contains("/s1 ") { ("200 OK", known.as_str()) } else { ("404 Not Found", "") };
            let Step::Answer(text) = answer(status, "", body) else { unreachable!() };
            stream.write_all(text.as_bytes()).await.unwrap();
            continue;
        }
        match steps.get(counter.fetch_add(1, Ordering::SeqCst)).or(steps.last()).unwrap() {
            Step::Answer(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Step::Close => return,
            Step::Endless(head, sent) => {
                let mut count = 0;
                let piece = vec![b'x'; 64 << 10];
                let mut next = stream.write_all(head.as_bytes()).await;
                while next.is_ok() {
                    next = stream.write_all(&piece).await;
                    count += piece.len();
                }
                sent.send(count).unwrap();
                return;
            }
            Step::Silence(gone) => {
                let _ = stream.read(&mut [0; 64]).await;
                gone.send(()).unwrap();
                return;
            }
        }
    }
}

/// The head of a request, in lower case.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap().to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.is_ok().then_some(text)
}

fn client(server: &Server) -> Daytona {
    let config = Config { api_key: Some("secret-key".into()), api_url: Some(server.url.clone()), ..Config::default() };
    Daytona::new(&config).unwrap()
}

#[tokio::test]
async fn transient_answers_are_asked_again_where_that_is_safe() {
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", "");
    let server = serve(vec![busy.clone(), busy.clone(), sandbox()]).await;
    assert_eq!(client(&server).get("s1", None).await.unwrap().id(), "s1");
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);

    let server = serve(vec![busy]).await;
    let error = client(&server).get("s1", None).await.err().unwrap();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::ServiceUnavailable, 3));
    assert!(error.to_string().contains("after 3 attempts"), "{error}");

    let error = client(&server).create(CreateParams::default(), &CreateOptions::default()).await.err().unwrap();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::ServiceUnavailable, 1));
}

#[tokio::test]
async fn a_long_retry_after_is_not_waited_for() {
    let server =
        serve(vec![answer("429 Too Many Requests", "Retry-After: 3600\r\nX-RateLimit-Limit: 5\r\n", "")]).await;
    let error = client(&server).get("s1", None).await.err().unwrap();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::RateLimit, 1));
    assert!(error.headers().contains(&("x-ratelimit-limit".into(), "5".into())));
}

#[tokio::test]
async fn a_reset_is_repeated_only_if_nothing_can_have_been_acted_on() {
    let server = serve(vec![Step::Close, sandbox()]).await;
    assert_eq!(client(&server).get("s1", None).await.unwrap().id(), "s1");

    let server = serve(vec![Step::Close, sandbox()]).await;
    let error = client(&server).create(CreateParams::default(), &CreateOptions::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1, "a POST may have been acted on");
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_for_any_method() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server { url: format!("http://{free}/api"), requests: Arc::default() };
    let error = client(&server).create(CreateParams::default(), &CreateOptions::default()).await.err().unwrap();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Connection, 3));
    assert!(error.message().contains(&free.to_string()), "{error}");
}

#[tokio::test]
async fn a_time_limit_ends_the_call_and_the_connection() {
    let (gone, mut seen) = mpsc::unbounded_channel();
    let server = serve(vec![Step::Silence(gone)]).await;
    let error = client(&server).get("s1", Some(1.0)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionTimeout);
    assert!(error.kind().is(ErrorKind::Timeout));
    seen.recv().await.unwrap();
}

#[tokio::test]
async fn dropping_a_call_drops_its_request() {
    let (gone, mut seen) = mpsc::unbounded_channel();
    let server = serve(vec![Step::Silence(gone)]).await;
    let client = client(&server);
    let call = tokio::spawn(async move { client.get("s1", None).await.map(drop) });
    while server.requests.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    seen.recv().await.unwrap();
}

#[tokio::test]
async fn answers_that_make_no_sense_say_what_to_check() {
    let server = serve(vec![answer("200 OK", "Content-Type: text/html\r\n", "<html>")]).await;
    let error = client(&server).get("s1", None).await.err().unwrap();
    assert!(error.message().contains("text/html") && error.message().contains("API URL"), "{error}");

    let server = serve(vec![answer("302 Found", "Location: https://elsewhere.example/\r\n", "")]).await;
    let error = client(&server).get("s1", None).await.err().unwrap();
    assert!(error.message().contains("elsewhere.example"), "{error}");

    let server = serve(vec![answer("401 Unauthorized", "X-Request-Id: r7\r\n", r#"{"message":"no"}"#)]).await;
    let error = client(&server).get("s1", None).await.err().unwrap();
    assert_eq!((error.kind(), error.request_id(), error.status()), (ErrorKind::Authentication, Some("r7"), Some(401)));
    assert!(!format!("{error:?}").contains("secret-key"));
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_meanwhile_is_not_used() {
    // Closes after each answer, without saying so in it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if read_request(&mut stream).await.is_some() {
                let Step::Answer(text) = answer("200 OK", "", r#"{"items":[]}"#) else { unreachable!() };
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            drop(stream);
            let _ = closed.send(());
        }
    });
    let client = client(&Server { url, requests: Arc::default() });
    for _ in 0..20 {
        client.list(&ListQuery::default(), None, None).await.unwrap();
        is_closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn requests_beyond_the_pool_wait_and_then_say_so() {
    let (gone, _seen) = mpsc::unbounded_channel();
    let server = serve(vec![Step::Silence(gone)]).await;
    let config = Config {
        api_key: Some("k".into()),
        api_url: Some(server.url.clone()),
        connection_pool_maxsize: Some(Some(1)),
        ..Config::default()
    };
    let client = Daytona::new(&config).unwrap();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.get("s1", None).await.map(drop) }
    });
    while server.requests.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let error = client.get("s2", Some(1.0)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionTimeout);
    assert!(error.message().contains("connection_pool_maxsize"), "{error}");
    first.abort();
}

/// A sandbox whose toolbox is the server itself.
async fn sandbox_at(server: &Server, max_response_bytes: Option<u64>) -> Sandbox {
    let config = Config {
        api_key: Some("k".into()),
        api_url: Some(server.url.clone()),
        max_response_bytes,
        ..Config::default()
    };
    Daytona::new(&config).unwrap().get("s1", None).await.unwrap()
}

/// What asks for the sandbox is answered with it, everything else with the steps.
async fn serve_with_toolbox(steps: Vec<Step>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let known = format!(r#"{{"id":"s1","state":"started","toolboxProxyUrl":"http://{address}/toolbox"}}"#);
    let server = Server { url: format!("http://{address}/api"), requests: Arc::default() };
    let counter = Arc::clone(&server.requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Some(known.clone()), steps.clone(), Arc::clone(&counter)));
        }
    });
    server
}

const MIB: usize = 1 << 20;
/// Room for what lies in the buffers of sockets.
const FAR_LESS_THAN_ENDLESS: usize = 64 * MIB;

fn too_large(error: &Error, operation: &str) {
    assert_eq!(error.kind(), ErrorKind::ResponseTooLarge, "{error}");
    assert_eq!(error.operation().unwrap().name, operation);
    let text = error.message();
    assert!(text.contains("1 MiB") && text.contains("max_response_bytes") && text.contains("stream"), "{text}");
}

#[tokio::test]
async fn an_endless_answer_ends_at_the_limit() {
    let (sent, mut count) = mpsc::unbounded_channel();
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned();
    let server = serve_with_toolbox(vec![Step::Endless(head, sent.clone())]).await;
    let sandbox = sandbox_at(&server, Some(MIB as u64)).await;
    let error = sandbox.process().exec("true", ExecOptions::default()).await.err().unwrap();
    too_large(&error, "process.exec");
    assert!(count.recv().await.unwrap() < FAR_LESS_THAN_ENDLESS);
    let error = sandbox.fs().list_files("/", None, None).await.err().unwrap();
    too_large(&error, "fs.list_files");
    count.recv().await.unwrap();

    // One that says how long it is is not even begun.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n".to_owned();
    let server = serve_with_toolbox(vec![Step::Endless(head, sent.clone())]).await;
    let sandbox = sandbox_at(&server, Some(MIB as u64)).await;
    too_large(&sandbox.process().exec("true", ExecOptions::default()).await.err().unwrap(), "process.exec");
    assert!(count.recv().await.unwrap() < FAR_LESS_THAN_ENDLESS);

    // Nor is the end of an error waited for.
    let head = "HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\n".to_owned();
    let server = serve_with_toolbox(vec![Step::Endless(head, sent)]).await;
    let sandbox = sandbox_at(&server, None).await;
    let error = sandbox.process().exec("true", ExecOptions::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InternalServer);
    assert!(error.message().len() <= MIB, "{}", error.message().len());
    assert!(count.recv().await.unwrap() < FAR_LESS_THAN_ENDLESS);
}

#[tokio::test]
async fn an_answer_within_the_limit_is_whole() {
    let body = format!(r#"{{"exitCode":0,"result":"{}"}}"#, "x".repeat(MIB - 100));
    let server = serve_with_toolbox(vec![answer("200 OK", "", &body)]).await;
    let sandbox = sandbox_at(&server, Some(MIB as u64)).await;
    let done = sandbox.process().exec("true", ExecOptions::default()).await.unwrap();
    assert_eq!(done.result.len(), MIB - 100);
    let sandbox = sandbox_at(&server, Some(0)).await;
    assert_eq!(sandbox.process().exec("true", ExecOptions::default()).await.unwrap().result.len(), MIB - 100);
}

fn part(name: &str, length: Option<u64>) -> String {
    let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    format!("\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n{length}\r\n")
}

fn multipart(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n{body}")
}

#[tokio::test]
async fn downloads_to_memory_are_bounded() {
    let (sent, mut count) = mpsc::unbounded_channel();
    for length in [None, Some(1 << 40)] {
        let endless = Step::Endless(multipart(&part("/f", length)), sent.clone());
        let server = serve_with_toolbox(vec![endless]).await;
        let sandbox = sandbox_at(&server, Some(MIB as u64)).await;
        let download = sandbox.fs().download_file("/f", DownloadTarget::Memory, Transfer::default()).await;
        let error = download.err().unwrap();
        too_large(&error.clone(), "fs.download_file");
        assert!(error.message().starts_with("/f is longer"), "{error}");
        assert!(count.recv().await.unwrap() < FAR_LESS_THAN_ENDLESS);
    }

    // Many files share the room; one that does not fit does not stop those behind it.
    let half = "y".repeat(MIB / 2 + 1);
    let mut body = String::new();
    for (name, data) in [("/a", half.as_str()), ("/b", &half), ("/c", "z")] {
        body += &part(name, Some(data.len() as u64));
        body += data;
    }
    body += "\r\n--b--\r\n";
    let server =
        serve_with_toolbox(vec![answer("200 OK", "Content-Type: multipart/form-data; boundary=b\r\n", &body)]).await;
    let sandbox = sandbox_at(&server, Some(MIB as u64)).await;
    let files = ["/a", "/b", "/c"].map(|source| Download { source: source.into(), target: DownloadTarget::Memory });
    let results = sandbox.fs().download_files(files.into(), Transfer::default()).await.unwrap();
    let lengths: Vec<_> =
        results.iter().map(|one| one.result.as_ref().ok().map(|data| data.as_ref().unwrap().len())).collect();
    assert_eq!(lengths, [Some(half.len()), None, Some(1)]);
    assert_eq!(results[1].result.as_ref().unwrap_err().kind(), ErrorKind::ResponseTooLarge);

    // To a file there is no limit.
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a");
    let file = DownloadTarget::File(to.clone());
    sandbox.fs().download_file("/a", file, Transfer::default()).await.unwrap();
    assert_eq!(std::fs::metadata(&to).unwrap().len(), half.len() as u64);

    // What is said instead of a file is no file either.
    let error = "\r\n--b\r\nContent-Disposition: form-data; name=\"error\"; filename=\"/f\"\r\n\r\n";
    let server = serve_with_toolbox(vec![Step::Endless(multipart(error), sent)]).await;
    let sandbox = sandbox_at(&server, None).await;
    let download = sandbox.fs().download_file("/f", DownloadTarget::Memory, Transfer::default()).await;
    assert_eq!(download.err().unwrap().kind(), ErrorKind::Other);
    assert!(count.recv().await.unwrap() < FAR_LESS_THAN_ENDLESS);
    assert!(sandbox.fs().download_file_stream("/f", Transfer::default()).await.is_err());
    assert!(count.recv().await.unwrap() < FAR_LESS_THAN_ENDLESS);
}

#[tokio::test]
async fn a_list_that_leads_to_itself_is_told() {
    let server = serve(vec![answer("200 OK", "", r#"{"items":[],"total":0,"nextCursor":"again"}"#)]).await;
    let client = client(&server);
    let page = client.list(&ListQuery::default(), None, None).await.unwrap();
    assert_eq!(page.next_cursor.as_deref(), Some("again"));
    let error = client.list(&ListQuery::default(), Some("again"), None).await.err().unwrap();
    assert!(error.message().contains("does not end"), "{error}");
    let query = ListSecretsQuery { cursor: Some("again".into()), ..ListSecretsQuery::default() };
    let error = client.secret().list(&query, None).await.err().unwrap();
    assert!(error.message().contains("does not end"), "{error}");
}

/// Every kind of thing that is deleted, each with a client of its own.
async fn delete(kind: &str, server: &Server) -> Result<(), Error> {
    const ID: &str = "0b1e77aa-0000-4000-8000-000000000001";
    let sandbox = sandbox_at(server, None).await;
    let client = client(server);
    match kind {
        "sandbox" => sandbox.delete(None, false).await,
        "file" => sandbox.fs().delete_file("/f", false, None).await,
        "session" => sandbox.process().delete_session("one", None).await,
        "terminal" => sandbox.process().kill_pty_session("one", None).await,
        "context" => sandbox.code_interpreter().delete_context("one", None).await,
        "access" => sandbox.revoke_ssh_access("token", None).await,
        "snapshot" => client.snapshot().delete(ID, None).await,
        "volume" => client.volume().delete(ID, None).await,
        "secret" => client.secret().delete(ID, None).await,
        "pool" => client.warm_pool().delete(ID, None).await,
        "key" => client.admin().delete_api_key("mine", None).await,
        "registry" => client.admin().delete_registry(ID, None).await,
        "api" => client.api().request("DELETE", "/volumes/one", &[], None, None).await.map(drop),
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn what_a_repeated_delete_does_not_find_is_deleted() {
    let missing = || answer("404 Not Found", "", r#"{"message":"no such thing"}"#);
    let busy = |status| answer(status, "Retry-After: 0\r\n", "");
    for kind in [
        "sandbox", "file", "session", "terminal", "context", "access", "snapshot", "volume", "secret", "pool", "key",
        "registry", "api",
    ] {
        for lost in [Step::Close, busy("502 Bad Gateway"), busy("504 Gateway Timeout")] {
            let server = serve_with_toolbox(vec![lost, missing()]).await;
            delete(kind, &server).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert_eq!(server.requests.load(Ordering::SeqCst), 2, "{kind}");
        }
        let server = serve_with_toolbox(vec![Step::Close, answer("410 Gone", "", "")]).await;
        delete(kind, &server).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    // Where nothing can have been done yet, nothing was there. A name may be looked for in more than one way.
    for kind in ["sandbox", "file", "volume"] {
        for first in [missing(), busy("429 Too Many Requests"), busy("503 Service Unavailable")] {
            let server = serve_with_toolbox(vec![first, missing()]).await;
            let error = delete(kind, &server).await.unwrap_err();
            assert!(error.kind().is(ErrorKind::NotFound), "{kind}: {error}");
        }
    }
    // Another refusal stays one.
    let server = serve_with_toolbox(vec![Step::Close, answer("409 Conflict", "", r#"{"message":"in use"}"#)]).await;
    let error = delete("volume", &server).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Conflict, 2));
}

#[tokio::test]
async fn a_sandbox_whose_repeated_delete_is_in_the_way_of_the_first_is_deleted() {
    let conflict = || answer("409 Conflict", "", r#"{"message":"a change is in progress"}"#);
    let in_state = |state| answer("200 OK", "", &format!(r#"{{"id":"s1","state":"{state}","toolboxProxyUrl":""}}"#));
    let server = serve(vec![sandbox(), Step::Close, conflict(), in_state("destroying")]).await;
    delete("sandbox", &server).await.unwrap();
    let server = serve(vec![sandbox(), Step::Close, conflict(), in_state("starting")]).await;
    assert_eq!(delete("sandbox", &server).await.unwrap_err().kind(), ErrorKind::Conflict);
    let server = serve(vec![sandbox(), conflict(), in_state("destroying")]).await;
    assert_eq!(delete("sandbox", &server).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn moves_and_folders_are_not_made_twice() {
    let server = serve_with_toolbox(vec![Step::Close]).await;
    let sandbox = sandbox_at(&server, None).await;
    let error = sandbox.fs().move_files("/a", "/b", None).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Connection, 1));
    let error = sandbox.fs().create_folder("/a", "755", None).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Connection, 1));
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}
