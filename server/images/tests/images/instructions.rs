//! What instructions mean to one another: scopes of arguments, stages, owners.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{Bench, Fake, Tar, idle, names, read};
use daytona_images::RunStep;

/// Notes the values that a variable has in the steps.
fn values(name: &'static str) -> (Arc<Mutex<Vec<String>>>, impl Fn(&RunStep<'_>) -> i32) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let run = move |step: &RunStep<'_>| {
        let value = step.env.iter().find(|(key, _)| key == name).map_or("-", |(_, value)| value);
        noted.lock().unwrap().push(format!("{} {value}", step.argv[2]));
        0
    };
    (seen, run)
}

#[tokio::test]
async fn arguments_have_the_scope_of_their_stage() {
    let mut bench = Bench::new();
    let (seen, run) = values("V");
    let text = "ARG V=global\nFROM scratch AS base\nRUN before\nARG V\nRUN from-global\nARG V=own\nRUN own\n\
                FROM scratch AS other\nRUN unrelated\nCOPY --from=base / /\n\
                FROM base\nRUN inherited\nENV V=env\nARG V=late\nRUN env-wins\nCOPY --from=other / /\n";
    bench.build(text, None, &Fake(run)).await.unwrap();
    let expected = ["before -", "from-global global", "own own", "unrelated -", "inherited own", "env-wins env"]
        .map(str::to_owned);
    assert_eq!(*seen.lock().unwrap(), expected);
    bench.options.args.insert("V".to_owned(), "given".to_owned());
    let (seen, run) = values("V");
    let image = bench.build(text, None, &Fake(run)).await.unwrap();
    let expected = ["before -", "from-global given", "own given", "unrelated -", "inherited given", "env-wins env"];
    // What no argument has changed comes from the cache.
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|line| expected.contains(&line.as_str())) && seen.len() >= 3, "{seen:?}");
    assert!(seen.contains(&"inherited given".to_owned()), "{seen:?}");
    // Arguments are not kept.
    assert_eq!(image.config.env, ["V=env"]);
}

#[tokio::test]
async fn arguments_that_every_build_has_need_no_declaration() {
    let mut bench = Bench::new();
    bench.options.args.insert("https_proxy".to_owned(), "http://proxy:1".to_owned());
    let (seen, run) = values("https_proxy");
    let text = "FROM --platform=$BUILDPLATFORM scratch\nRUN x\nARG TARGETARCH\nCOPY f /$TARGETARCH\n";
    let context = || Some(Tar::new().file("f", b""));
    let image = bench.build(text, context(), &Fake(run)).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["x http://proxy:1"]);
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(names(&image), [here]);
    assert!(!bench.log.text().contains("were not consumed"), "{}", bench.log.text());
    // Another proxy is no other step.
    bench.options.args.insert("https_proxy".to_owned(), "http://proxy:2".to_owned());
    let same = bench.build(text, context(), &Fake(|_: &RunStep<'_>| -> i32 { panic!("it is known") })).await.unwrap();
    assert_eq!(same.layers, image.layers);
}

#[tokio::test]
async fn what_variables_make_impossible_is_refused_before_anything_runs() {
    let bench = Bench::new();
    let never = Fake(|_: &RunStep<'_>| -> i32 { panic!("nothing runs") });
    for (from, why) in [
        ("FROM --platform=linux/s390x x:1", "building for linux/s390x"),
        ("FROM ${I}", "name of the image is empty"),
        ("FROM a:b:c", "not an image name"),
        ("FROM scratch\nCOPY --from=a:b:c / /", "not an image name"),
        ("FROM scratch\nRUN --mount=type=bind,from=a:b:c,target=/x y", "not an image name"),
    ] {
        let text = format!("ARG I=\nFROM scratch AS early\nRUN x\n{from}\nCOPY --from=early / /\n");
        let error = bench.build(&text, None, &never).await.unwrap_err();
        assert!(error.to_string().contains(why), "{from}: {error}");
    }
}

#[tokio::test]
async fn what_a_stage_has_set_holds_in_those_built_upon_it() {
    let bench = Bench::new();
    let seen = Mutex::new(Vec::new());
    let runner = Fake(|step: &RunStep<'_>| {
        seen.lock().unwrap().push(format!("{} {} {}", step.argv.join(" "), step.workdir, step.user));
        0
    });
    let text = "FROM scratch AS base\nSHELL [\"/bin/bash\", \"-euc\"]\nWORKDIR /a\nWORKDIR b/../c\nENV D=d\nWORKDIR $D\n\
                USER 7:8\nENTRYPOINT [\"old\"]\nCMD old\nLABEL k=1\n\
                FROM base\nRUN x\nENTRYPOINT [\"new\"]\nLABEL k=2 l=$D\n";
    let image = bench.build(text, None, &runner).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["/bin/bash -euc x /a/c/d 7:8"]);
    let config = &image.config;
    assert_eq!((config.entrypoint.as_slice(), config.cmd.len()), (&["new".to_owned()][..], 0));
    assert_eq!(config.labels.iter().map(|(k, v)| [k.as_str(), v].concat()).collect::<Vec<_>>(), ["k2", "ld"]);
    let other =
        bench.build("FROM scratch\nSHELL [\"sh\", \"-c\"]\nCMD x\nENTRYPOINT y\n", None, &idle()).await.unwrap();
    assert_eq!((other.config.cmd.join(" "), other.config.entrypoint.join(" ")), ("sh -c x".into(), "sh -c y".into()));
}

#[tokio::test]
async fn owners_and_modes_are_as_told() {
    let bench = Bench::new();
    let context = Tar::new()
        .file("etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/home/app:/bin/sh\n")
        .owned("owned", 500, 500)
        .folder("tree", 0o711)
        .file("tree/file", b"1")
        .symlink("tree/link", "file");
    let text = "FROM scratch\nCOPY etc /etc\nUSER app\nWORKDIR /home/app/work\nARG MODE=0640\n\
                COPY owned /by-default\nCOPY --chown=app --chmod=$MODE tree /tree\n";
    let image = bench.build(text, Some(context), &idle()).await.unwrap();
    let meta = |at: usize, name: &str| std::fs::symlink_metadata(image.layers[at].path.join(name)).unwrap();
    assert_eq!(meta(3, "tree/file").permissions().mode() & 0o7777, 0o640);
    assert!(meta(3, "tree/link").is_symlink());
    if crate::common::options().keep_owners {
        let owner = |at: usize, name: &str| (meta(at, name).uid(), meta(at, name).gid());
        assert_eq!((owner(1, "home"), owner(1, "home/app/work")), ((1234, 2345), (1234, 2345)));
        assert_eq!(
            (owner(2, "by-default"), owner(3, "tree/file"), owner(3, "tree/link")),
            ((0, 0), (1234, 2345), (1234, 2345))
        );
    }
}

#[tokio::test]
async fn a_target_builds_no_further() {
    let mut bench = Bench::new();
    bench.options.target = Some("one".to_owned());
    let context = || Some(Tar::new().file("f", b"1").file("g", b"2"));
    let text = "FROM scratch AS one\nCOPY f /f\nFROM one AS two\nCOPY g /g\n";
    let one = bench.build(text, context(), &idle()).await.unwrap();
    assert_eq!(names(&one), ["f"]);
    bench.options.target = Some("1".to_owned());
    let two = bench.build(text, context(), &idle()).await.unwrap();
    assert_eq!((names(&two), &two.layers[0]), (vec!["f".to_owned(), "g".to_owned()], &one.layers[0]));
    bench.options.target = Some("three".to_owned());
    assert!(bench.build(text, context(), &idle()).await.unwrap_err().to_string().contains("three"));
}

#[tokio::test]
async fn what_is_left_out_of_the_context_is_not_there() {
    let bench = Bench::new();
    let context = |rules: &[u8]| {
        let tar = Tar::new().file(".dockerignore", rules).file("out/f", b"").file("out/keep", b"").file("f", b"");
        Some(tar.file("deep/er/x.tmp", b"").file("deep/er/y", b"").file("deep/x.tmp", b""))
    };
    for source in ["out", "out/f", "o*/f"] {
        let text = format!("FROM scratch\nCOPY {source} /x/\n");
        let error = bench.build(&text, context(b"out\n"), &idle()).await.unwrap_err();
        assert!(error.to_string().contains("not found in the build context"), "{source}: {error}");
    }
    let image =
        bench.build("FROM scratch\nCOPY out /x/\n", context(b"# all\nout\n!out/keep\n"), &idle()).await.unwrap();
    assert_eq!(names(&image), ["x", "x/keep"]);
    let image =
        bench.build("FROM scratch\nCOPY . /\n", context(b"**/*.tmp\n./out/\n.dockerignore\n"), &idle()).await.unwrap();
    assert_eq!(names(&image), ["deep", "deep/er", "deep/er/y", "f"]);
}

#[tokio::test]
async fn later_copies_add_to_earlier_ones_and_replace_them() {
    let bench = Bench::new();
    let context = Tar::new().file("a/f", b"a").file("a/sub/x", b"x").file("b/f", b"b").file("b/sub", b"file now");
    let image = bench.build("FROM scratch\nCOPY a b/f /t/\nCOPY b/f /t/sub/\n", Some(context), &idle()).await.unwrap();
    assert_eq!(names(&image), ["t", "t/f", "t/sub", "t/sub/f", "t/sub/x"]);
    assert_eq!(read(&image, "t/f").as_deref(), Some("b"));
    let context = Tar::new().file("a", b"1").file("b", b"2");
    let error = bench.build("FROM scratch\nCOPY ? /x\n", Some(context), &idle()).await.unwrap_err();
    assert!(error.to_string().contains("must end with /"), "{error}");
}

/// Fails a step that meets another one.
struct Alone<'a>(&'a AtomicUsize);

#[async_trait::async_trait]
impl daytona_images::Runner for Alone<'_> {
    async fn run(&self, _: RunStep<'_>, _: &dyn daytona_images::LogSink) -> daytona_images::Result<i32> {
        let others = self.0.fetch_add(1, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.0.fetch_sub(1, Ordering::SeqCst);
        Ok(i32::from(others > 0))
    }
}

#[tokio::test]
async fn a_cache_of_a_mount_that_is_locked_is_used_by_one_step_at_a_time() {
    let bench = Bench::new();
    let inside = AtomicUsize::new(0);
    let alone = Alone(&inside);
    let text = |n: u8| format!("FROM scratch\nRUN --mount=type=cache,id=c,target=/{n},sharing=locked {n}\n");
    let texts = [text(1), text(2), text(3)];
    let builds = texts.iter().map(|text| bench.build(text, None, &alone));
    for built in futures_util::future::join_all(builds).await {
        built.unwrap();
    }
}
