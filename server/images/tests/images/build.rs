//! Builds with a runner that does not run, and contexts made here. No registry.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{Bench, Fake, Tar, digest, idle, names, read, tree};
use daytona_images::{BuildOptions, Error, LogSink, MountSource, Network, Plan, RunStep, Runner, build};

#[tokio::test]
async fn copies_files_folders_globs_and_documents() {
    let bench = Bench::new();
    let context = Tar::new()
        .folder("app", 0o755)
        .file("app/main.py", b"main")
        .mode("app/run.sh", b"run", 0o755)
        .folder("app/sub", 0o750)
        .file("app/sub/deep.txt", b"deep")
        .symlink("app/link", "main.py")
        .file("a.txt", b"a")
        .file("b.txt", b"b")
        .file("with space.txt", b"s");
    let text = r#"
FROM scratch
WORKDIR /work
COPY app /srv/app
COPY *.txt texts/
COPY a.txt renamed
COPY --chmod=600 ["with space.txt", "/secret"]
COPY <<EOF <<'RAW' /docs/
hello $NAME
EOF
raw $NAME
RAW
"#;
    let image = bench.build(text, Some(context), &idle()).await.unwrap();
    assert_eq!(read(&image, "srv/app/main.py").as_deref(), Some("main"));
    assert_eq!(read(&image, "srv/app/sub/deep.txt").as_deref(), Some("deep"));
    assert_eq!(read(&image, "work/texts/b.txt").as_deref(), Some("b"));
    assert_eq!(read(&image, "work/renamed").as_deref(), Some("a"));
    assert_eq!(read(&image, "docs/EOF").as_deref(), Some("hello \n"));
    assert_eq!(read(&image, "docs/RAW").as_deref(), Some("raw $NAME\n"));
    assert_eq!(image.config.working_dir, "/work");
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let found = image.lowerdirs().into_iter().find_map(|layer| std::fs::symlink_metadata(layer.join(path)).ok());
        found.unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode("secret"), 0o600);
    assert_eq!(mode("srv/app/run.sh"), 0o755);
    assert_eq!(mode("srv/app/sub"), 0o750);
    let link = image.lowerdirs().iter().find_map(|layer| std::fs::read_link(layer.join("srv/app/link")).ok());
    assert_eq!(link.unwrap(), Path::new("main.py"));
    assert!(bench.log.text().contains("Step 1/7 : FROM scratch"), "{}", bench.log.text());
}

#[tokio::test]
async fn says_which_source_is_missing_and_leaves_nothing() {
    let bench = Bench::new();
    let error =
        bench.build("FROM scratch\nCOPY gone /x\n", Some(Tar::new().file("a", b"")), &idle()).await.unwrap_err();
    let Error::Step { step, why, exit_code: None } = &error else { panic!("{error}") };
    assert!(step == "COPY gone /x" && why.contains("gone"), "{error}");
    assert!(bench.store.images().is_empty());
    let image = bench.build("FROM scratch\nCOPY a /x\n", Some(Tar::new().file("a", b"1")), &idle()).await.unwrap();
    assert_eq!(read(&image, "x").as_deref(), Some("1"));
}

#[tokio::test]
async fn honours_dockerignore_and_exclude() {
    let bench = Bench::new();
    let context = Tar::new()
        .file(".dockerignore", b"*.log\n**/cache\nnode\n!node/keep.js\n")
        .file("x.log", b"")
        .file("sub/y.log", b"")
        .file("sub/cache/z", b"")
        .file("node/keep.js", b"")
        .file("node/other.js", b"")
        .file("skip.md", b"");
    let image = bench.build("FROM scratch\nCOPY --exclude=*.md . /\n", Some(context), &idle()).await.unwrap();
    assert_eq!(names(&image), [".dockerignore", "node", "node/keep.js", "sub", "sub/y.log"]);
}

#[tokio::test]
async fn copies_through_links_of_the_image_and_keeps_folders_as_they_are() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let context = Tar::new()
        .folder("root", 0o755)
        .folder("root/usr", 0o755)
        .folder("root/usr/bin", 0o711)
        .symlink("root/bin", "usr/bin")
        .symlink("root/abs", "/usr/../../usr")
        .file("tool", b"t");
    let text = "FROM scratch\nCOPY root /\nCOPY tool /bin/tool\nCOPY tool /abs/copy\n";
    let image = bench.build(text, Some(context), &idle()).await.unwrap();
    assert_eq!(tree(&image.layers[1].path), ["usr", "usr/bin", "usr/bin/tool"]);
    assert_eq!(tree(&image.layers[2].path), ["usr", "usr/copy"]);
    let mode = std::fs::metadata(image.layers[1].path.join("usr/bin")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o711);
}

#[tokio::test]
async fn contexts_do_not_reach_outside() {
    let bench = Bench::new();
    std::fs::write(bench.dir.path().join("outside"), "secret").unwrap();
    for (context, source) in [
        (Tar::new().symlink("l", "../../../outside"), "l"),
        (Tar::new().symlink("l", bench.dir.path().join("outside").to_str().unwrap()), "l"),
        (Tar::new().file("a", b""), "../../outside"),
    ] {
        let error =
            bench.build(&format!("FROM scratch\nCOPY {source} /x\n"), Some(context), &idle()).await.unwrap_err();
        assert!(error.to_string().contains("not found"), "{error}");
    }
    for bad in [Tar::new().file("../up", b""), Tar::new().hard_link("h", "../../x")] {
        let error = bench.build("FROM scratch\nCOPY . /\n", Some(bad), &idle()).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

#[tokio::test]
async fn runs_steps_with_what_the_image_says_and_caches_them() {
    let mut bench = Bench::new();
    let runs = AtomicUsize::new(0);
    let runner = Fake(|step: &RunStep<'_>| {
        let n = runs.fetch_add(1, Ordering::Relaxed);
        let env = |name: &str| step.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(step.argv, ["/bin/bash", "-c", "echo $X && echo done"]);
        assert_eq!((env("X"), env("VERSION"), env("PATH")), (Some("1 2"), Some("9"), Some("/bin")));
        assert_eq!((step.user, step.workdir, step.network), ("me:us", "/w/x", Network::Default));
        assert_eq!(step.lower.len(), 1);
        std::fs::write(step.upper.join("made"), format!("{n}")).unwrap();
        0
    });
    let text = r#"ARG V=9
FROM scratch
ARG V
ARG VERSION=${V}
ENV X="1 2" PATH=/bin
USER me:us
WORKDIR /w/x
SHELL ["/bin/bash", "-c"]
RUN echo $X && \
# comment
echo done
ENTRYPOINT run it
CMD ["a", "b"]
LABEL a=b "c d"='e f'
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK NONE
"#;
    let image = bench.build(text, None, &runner).await.unwrap();
    let config = &image.config;
    assert_eq!(config.env, ["X=1 2", "PATH=/bin"]);
    assert_eq!(config.entrypoint, ["/bin/bash", "-c", "run it"]);
    assert_eq!((config.cmd.join(" "), config.user.as_str()), ("a b".to_owned(), "me:us"));
    assert_eq!(config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["a=b", "c d=e f"]);
    assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
    assert_eq!(config.stop_signal, "SIGINT");
    let again = bench.build(text, None, &runner).await.unwrap();
    assert_eq!((again.digest.as_str(), runs.load(Ordering::Relaxed)), (image.digest.as_str(), 1));
    assert_eq!(bench.log.text().matches(" ---> Using cache").count(), 2);
    bench.options.no_cache = true;
    let fresh = bench.build(text, None, &runner).await.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_ne!(fresh.digest, image.digest);
    // Another value of an argument is another step.
    bench.options = BuildOptions::default();
    bench.options.args.insert("V".to_owned(), "10".to_owned());
    bench.options.args.insert("UNKNOWN".to_owned(), String::new());
    let ran = AtomicUsize::new(0);
    let differs = Fake(|step: &RunStep<'_>| {
        ran.fetch_add(1, Ordering::Relaxed);
        assert!(step.env.contains(&("VERSION".to_owned(), "10".to_owned())));
        0
    });
    bench.build(text, None, &differs).await.unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    assert!(bench.log.text().contains("build-args [UNKNOWN] were not consumed"));
}

#[tokio::test]
async fn a_changed_file_is_another_layer_and_an_equal_one_is_not() {
    let bench = Bench::new();
    let text = "FROM scratch\nCOPY f /f\nRUN after\n";
    let first = bench.build(text, Some(Tar::new().file("f", b"1")), &idle()).await.unwrap();
    let same = bench.build(text, Some(Tar::new().file("f", b"1").file("unused", b"x")), &idle()).await.unwrap();
    assert_eq!(first.layers, same.layers);
    let other = bench.build(text, Some(Tar::new().file("f", b"2")), &idle()).await.unwrap();
    assert_ne!(first.layers[0], other.layers[0]);
    assert_ne!(first.layers[1], other.layers[1]);
    let mode = bench.build(text, Some(Tar::new().mode("f", b"1", 0o755)), &idle()).await.unwrap();
    assert_ne!(first.layers[0], mode.layers[0]);
}

#[tokio::test]
async fn a_failed_step_says_its_code_and_the_earlier_ones_stay() {
    let bench = Bench::new();
    let runs = AtomicUsize::new(0);
    let runner = Fake(|step: &RunStep<'_>| {
        runs.fetch_add(1, Ordering::Relaxed);
        std::fs::write(step.upper.join("half"), "x").unwrap();
        if step.argv[2] == "bad" { 7 } else { 0 }
    });
    let error = bench.build("FROM scratch\nRUN good\nRUN bad\n", None, &runner).await.unwrap_err();
    assert!(matches!(&error, Error::Step { step, exit_code: Some(7), .. } if step == "RUN bad"), "{error}");
    bench.build("FROM scratch\nRUN good\nRUN fine\n", None, &runner).await.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn stages_are_built_as_far_as_they_are_needed() {
    let bench = Bench::new();
    let ran = std::sync::Mutex::new(Vec::new());
    let runner = Fake(|step: &RunStep<'_>| {
        ran.lock().unwrap().push(step.argv[2].clone());
        std::fs::create_dir(step.upper.join("out")).unwrap();
        std::fs::write(step.upper.join("out/file"), &step.argv[2]).unwrap();
        0
    });
    let text = "FROM scratch AS unused\nRUN never\nFROM scratch AS Base\nRUN base\nFROM base AS more\nRUN more\n\
                FROM scratch\nCOPY --from=more /out /got\nCOPY --from=1 out/file /one\n";
    let image = bench.build(text, None, &runner).await.unwrap();
    assert_eq!(*ran.lock().unwrap(), ["base", "more"]);
    assert_eq!((read(&image, "got/file").as_deref(), read(&image, "one").as_deref()), (Some("more"), Some("base")));
    assert!(bench.log.text().contains("Step 7/7 : COPY --from=1 out/file /one"), "{}", bench.log.text());
}

#[tokio::test]
async fn here_documents_reach_the_shell() {
    let bench = Bench::new();
    let seen = std::sync::Mutex::new(Vec::new());
    let runner = Fake(|step: &RunStep<'_>| {
        seen.lock().unwrap().push(step.argv.to_vec());
        0
    });
    let text = "FROM scratch\nRUN <<EOF\none\ntwo\nEOF\nRUN python3 - <<-'PY' > /out\n\tprint(1)\n\tPY\n\
                RUN [\"exec\", \"form\"]\nRUN <<EOF\n#!/bin/sh\necho 2; exit 3\nEOF\n";
    bench.build(text, None, &runner).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen[0], ["/bin/sh", "-c", "one\ntwo\n"]);
    assert_eq!(seen[1], ["/bin/sh", "-c", "python3 - <<-'PY' > /out\nprint(1)\nPY"]);
    assert_eq!(seen[2], ["exec", "form"]);
    let script = std::process::Command::new(&seen[3][0]).args(&seen[3][1..]).output().unwrap();
    assert_eq!((String::from_utf8_lossy(&script.stdout).as_ref(), script.status.code()), ("2\n", Some(3)));
}

#[tokio::test]
async fn mounts_are_readied() {
    let bench = Bench::new();
    let runner = Fake(|step: &RunStep<'_>| {
        let [bind, cache, memory] = step.mounts else { panic!("{:?}", step.mounts) };
        let MountSource::Host(folder) = &cache.source else { panic!("{cache:?}") };
        assert_eq!(cache.target, "/root/.cache");
        let counter = folder.join("runs");
        let before = std::fs::read_to_string(&counter).unwrap_or_default();
        std::fs::write(&counter, before + "x").unwrap();
        assert_eq!(memory.source, MountSource::Tmpfs { size: Some(64 << 20) });
        let MountSource::Host(file) = &bind.source else { panic!("{bind:?}") };
        assert_eq!(std::fs::read_to_string(file).unwrap(), "text");
        assert!(bind.read_only && !cache.read_only);
        i32::from(std::fs::read_to_string(counter).unwrap() != step.argv[2])
    });
    let run = "RUN --mount=type=cache,target=/root/.cache --mount=type=tmpfs,target=/m,size=64m \
               --mount=type=bind,source=f,target=/f";
    let text = format!("FROM scratch\n{run} x\n{run} xx\n");
    bench.build(&text, Some(Tar::new().file("f", b"text")), &runner).await.unwrap();
}

#[tokio::test]
async fn add_unpacks_archives_and_copy_does_not() {
    let bench = Bench::new();
    let inner = Tar::new().file("in/file", b"packed").bytes();
    let packed = crate::common::Packing::Gzip.pack(&inner);
    let context = Tar::new().file("a.tar.gz", &packed).file("plain", b"p");
    let text = "FROM scratch\nADD a.tar.gz plain /d/\nCOPY a.tar.gz /c/\n";
    let image = bench.build(text, Some(context), &idle()).await.unwrap();
    assert_eq!(names(&image), ["c", "c/a.tar.gz", "d", "d/in", "d/in/file", "d/plain"]);
    for packed in [crate::common::Packing::Zstd.pack(&inner), bzip2(&inner), xz(&inner, 1 << 20)] {
        let context = Tar::new().file("a", &packed).file("x", b"\xfd7zXZ\0rest");
        let image = bench.build("FROM scratch\nADD a x /d/\n", Some(context), &idle()).await.unwrap();
        assert_eq!(names(&image), ["d", "d/in", "d/in/file", "d/x"]);
    }
    let greedy = Tar::new().file("a", &xz(&inner, 512 << 20));
    let error = bench.build("FROM scratch\nADD a /d/\n", Some(greedy), &idle()).await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("256 MiB")), "{error}");
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Packed so that it needs a dictionary of that many bytes to be unpacked.
fn xz(bytes: &[u8], dictionary: u32) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(0);
    options.lzma_options.dict_size = dictionary;
    let mut packed = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Answers every request with a text, on a loopback port.
fn serve(text: &'static str) -> String {
    use std::io::Read as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn add_fetches_what_it_may() {
    let mut bench = Bench::new();
    let url = serve("fetched");
    let error = bench.build(&format!("FROM scratch\nADD {url}/f /\n"), None, &idle()).await.unwrap_err();
    assert!(error.to_string().contains("may not connect"), "{error}");
    let named = url.replace("127.0.0.1", "localhost");
    let error = bench.build(&format!("FROM scratch\nADD {named}/f /\n"), None, &idle()).await.unwrap_err();
    assert!(error.to_string().contains("may connect to"), "{error}");
    bench.options.allow_address = Arc::new(|_| true);
    let image = bench.build(&format!("FROM scratch\nADD {url}/d/name?x=1 /to/\n"), None, &idle()).await.unwrap();
    assert_eq!(read(&image, "to/name").as_deref(), Some("fetched"));
    let (right, wrong) = (digest(b"fetched"), digest(b"other"));
    bench.build(&format!("FROM scratch\nADD --checksum={right} {url}/f /f\n"), None, &idle()).await.unwrap();
    let text = format!("FROM scratch\nADD --checksum={wrong} {url}/f /f\n");
    let error = bench.build(&text, None, &idle()).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { expected, .. } if *expected == wrong), "{error}");
}

struct Slow<'a>(&'a AtomicUsize);

#[async_trait::async_trait]
impl Runner for Slow<'_> {
    async fn run(&self, _: RunStep<'_>, _: &dyn LogSink) -> Result<i32, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(0)
    }
}

#[tokio::test]
async fn equal_builds_at_once_share_their_steps() {
    let bench = Bench::new();
    let runs = AtomicUsize::new(0);
    let slow = Slow(&runs);
    let contexts = [Tar::new().file("f", b"1").write(&bench.dir.path().join("c.tar"))];
    let plan = Plan::parse("FROM scratch\nCOPY f /f\nRUN a\nRUN b\n").unwrap();
    let one = || build(&bench.store, &plan, &contexts, &slow, &bench.log, &bench.options);
    let (a, b, c) = tokio::join!(one(), one(), one());
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    let digests = [a.unwrap().digest, b.unwrap().digest, c.unwrap().digest];
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

struct Stuck(tokio::sync::Notify);

#[async_trait::async_trait]
impl Runner for Stuck {
    async fn run(&self, step: RunStep<'_>, _: &dyn LogSink) -> Result<i32, Error> {
        std::fs::write(step.upper.join("half"), "x").unwrap();
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_build_that_is_given_up_leaves_nothing_and_the_next_one_works() {
    let bench = Bench::new();
    let stuck = Stuck(tokio::sync::Notify::new());
    tokio::select! {
        _ = bench.build("FROM scratch\nRUN x\n", None, &stuck) => panic!("it cannot end"),
        () = stuck.0.notified() => {}
    }
    let runner = Fake(|step: &RunStep<'_>| {
        assert!(tree(step.upper).is_empty());
        0
    });
    let image = bench.build("FROM scratch\nRUN x\n", None, &runner).await.unwrap();
    assert_eq!(image.layers.len(), 1);
}

#[tokio::test]
async fn chown_takes_names_of_the_image() {
    use std::os::unix::fs::MetadataExt as _;
    let bench = Bench::new();
    let context = || {
        let passwd = b"root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/home/app:/bin/sh\n";
        Some(Tar::new().file("etc/passwd", passwd).file("etc/group", b"root:x:0:\nstaff:x:50:\n").file("f", b""))
    };
    let text = "FROM scratch\nCOPY etc /etc\nCOPY --chown=app f /a\nCOPY --chown=app:staff f /b\nCOPY --chown=77 f /c\n\
                USER app\nRUN home\n";
    let runner = Fake(|step: &RunStep<'_>| {
        assert!(step.env.contains(&("HOME".to_owned(), "/home/app".to_owned())), "{:?}", step.env);
        0
    });
    let image = bench.build(text, context(), &runner).await.unwrap();
    if crate::common::options().keep_owners {
        let owner = |at: usize, name: &str| {
            let meta = std::fs::metadata(image.layers[at].path.join(name)).unwrap();
            (meta.uid(), meta.gid())
        };
        assert_eq!([owner(1, "a"), owner(2, "b"), owner(3, "c")], [(1234, 2345), (1234, 50), (77, 77)]);
    }
    let error = bench.build("FROM scratch\nCOPY --chown=nobody f /x\n", context(), &idle()).await.unwrap_err();
    assert!(error.to_string().contains("no user nobody"), "{error}");
}
