//! What the transport does when servers and networks misbehave, against a scripted server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daytona_core::{Config, CreateOptions, CreateParams, Daytona, ErrorKind, ListQuery};
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
            tokio::spawn(converse(stream, steps.clone(), Arc::clone(&counter)));
        }
    });
    Server { url, requests }
}

async fn converse(mut stream: TcpStream, steps: Vec<Step>, counter: Arc<AtomicUsize>) {
    while read_request(&mut stream).await {
        match steps.get(counter.fetch_add(1, Ordering::SeqCst)).or(steps.last()).unwrap() {
            Step::Answer(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Step::Close => return,
            Step::Silence(gone) => {
                let _ = stream.read(&mut [0; 64]).await;
                gone.send(()).unwrap();
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return false;
        }
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap().to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.is_ok()
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
            if read_request(&mut stream).await {
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
