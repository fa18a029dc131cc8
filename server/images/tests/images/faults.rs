//! Pulls when the network, the registry, the disk or the process fails: each ends clearly, and the next one works.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::proxy::{Fate, Proxy};
use crate::common::{Bench, Packing, Registry, Tar, noise, store};
use daytona_images::{Error, Event, Image, ImageRef, PullOptions, Quiet, Store};

async fn pull(store: &Store, name: &str) -> Result<Image, Error> {
    store.pull(&ImageRef::parse(name).unwrap(), &PullOptions::default(), &Quiet).await
}

fn content(image: &Image, name: &str) -> Vec<u8> {
    image.lowerdirs().iter().find_map(|layer| std::fs::read(layer.join(name)).ok()).unwrap()
}

/// What lies in a folder of the store.
fn count(bench: &Bench, folder: &str) -> usize {
    std::fs::read_dir(bench.dir.path().join("store").join(folder)).unwrap().count()
}

#[tokio::test]
async fn a_download_goes_on_where_the_connection_broke() {
    let Some(registry) = Registry::start(false) else { return };
    let bytes = noise(3_000_000);
    let layer = Tar::new().file("noise", &bytes).bytes();
    let blob = crate::common::digest(&layer);
    registry.push_image("app", "1", &[(layer.clone(), Packing::Plain)]).await;
    let (cuts, wanted) = (AtomicUsize::new(0), blob.clone());
    let proxy = Proxy::start(&registry.host, move |request| {
        if request.is_blob(&wanted) && cuts.fetch_add(1, Ordering::Relaxed) < 3 {
            return Fate::Cut(700_000);
        }
        Fate::Pass
    });
    let bench = Bench::new();
    let events = Mutex::new(Vec::new());
    let name = ImageRef::parse(&format!("{}/app:1", proxy.host)).unwrap();
    let note = |event| events.lock().unwrap().push(event);
    let image = bench.store.pull(&name, &PullOptions::default(), &note).await.unwrap();
    assert_eq!(content(&image, "noise"), bytes);
    let ranges: Vec<u64> = proxy
        .blob_requests(&blob)
        .iter()
        .map(|request| {
            let range = request.header("range").unwrap();
            range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(ranges.len(), 4);
    assert!(ranges.is_sorted_by(|a, b| a < b) && ranges[3] > 1_000_000, "{ranges:?}");
    let events = events.into_inner().unwrap();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Retrying { .. })).count(), 3);
    let mut last = 0;
    for event in &events {
        if let Event::Downloading { current, .. } = event {
            assert!(*current > last, "bytes are counted once: {events:?}");
            last = *current;
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_silent_is_given_up_and_the_next_pull_goes_on() {
    let Some(registry) = Registry::start(false) else { return };
    let layer = Tar::new().file("noise", &noise(1_000_000)).bytes();
    let blob = crate::common::digest(&layer);
    registry.push_image("app", "1", &[(layer.clone(), Packing::Plain)]).await;
    let (asked, wanted) = (AtomicUsize::new(0), blob.clone());
    let proxy = Proxy::start(&registry.host, move |request| {
        let early = request.is_blob(&wanted) && asked.fetch_add(1, Ordering::Relaxed) < 2;
        if early { Fate::Stall(400_000) } else { Fate::Pass }
    });
    let bench = Bench::new();
    let name = ImageRef::parse(&format!("{}/app:1", proxy.host)).unwrap();
    let options = PullOptions { idle: Duration::from_millis(300), retries: 0, ..PullOptions::default() };
    let error = bench.store.pull(&name, &options, &Quiet).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { registry, .. } if *registry == proxy.host), "{error}");
    // Dropping the future in the middle.
    let patient = PullOptions::default();
    let abandoned = bench.store.pull(&name, &patient, &Quiet);
    let stalled = tokio::task::spawn_blocking(move || {
        proxy.wait_stalled(2);
        proxy
    });
    let proxy = tokio::select! {
        _ = abandoned => panic!("it cannot end"),
        proxy = stalled => proxy.unwrap(),
    };
    assert_eq!((count(&bench, "layers"), bench.store.images().len()), (0, 0));
    bench.store.pull(&name, &patient, &Quiet).await.unwrap();
    let last = proxy.blob_requests(&blob).pop().unwrap();
    assert!(!last.header("range").unwrap().starts_with("bytes=0-"), "{last:?}");
}

#[tokio::test]
async fn what_is_corrupt_is_named_and_the_next_pull_works() {
    let Some(registry) = Registry::start(false) else { return };
    let layer = Packing::Gzip.pack(&Tar::new().file("f", &noise(100_000)).bytes());
    let blob = crate::common::digest(&layer);
    let unpacked = Tar::new().file("f", &noise(100_000)).bytes();
    let manifest = registry.push_image("app", "1", &[(unpacked.clone(), Packing::Gzip)]).await;
    let name = format!("{}/app:1", registry.host);
    let bench = Bench::new();
    let mut flipped = layer.clone();
    flipped[50_000] ^= 1;
    for (digest, bad) in [
        (&blob, flipped),
        // Of another length, too.
        (&blob, layer[..50_000].to_vec()),
        (&manifest, [std::fs::read(registry.blob_file(&manifest)).unwrap(), b"\n".to_vec()].concat()),
    ] {
        let file = registry.blob_file(digest);
        let good = std::fs::read(&file).unwrap();
        let short = bad.len() < good.len();
        std::fs::write(&file, bad).unwrap();
        let options = PullOptions { retries: 0, ..PullOptions::default() };
        let error = bench.store.pull(&ImageRef::parse(&name).unwrap(), &options, &Quiet).await.unwrap_err();
        match &error {
            Error::Corrupt { expected, .. } => assert_eq!(expected, digest, "{error}"),
            // The registry promises more than it has, and breaks off.
            Error::Unreachable { registry: host, .. } if short => assert_eq!(*host, registry.host, "{error}"),
            other => panic!("{other}"),
        }
        assert_eq!((count(&bench, "layers"), bench.store.images().len()), (0, 0));
        std::fs::write(&file, good).unwrap();
    }
    let image = pull(&bench.store, &name).await.unwrap();
    assert_eq!(content(&image, "f"), noise(100_000));
}

#[tokio::test]
async fn a_configuration_that_lies_about_layers_is_refused() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let layer = Tar::new().file("f", b"1").bytes();
    let mut blob = registry.push_blob("app", &layer).await;
    blob["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    let other = crate::common::digest(b"another");
    for (tag, diff_ids, expected) in [
        ("other", vec![other.clone()], other.as_str()),
        ("more", vec![crate::common::digest(&layer), other.clone()], "1 digests of layers"),
        ("none", vec!["sha256:../../../etc/passwd".to_owned()], "1 digests of layers"),
    ] {
        let config = serde_json::json!({"config": null, "rootfs": {"diff_ids": diff_ids}});
        let mut config = registry.push_blob("app", &serde_json::to_vec(&config).unwrap()).await;
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [blob],
        });
        registry.push_manifest("app", tag, &manifest).await;
        let error = pull(&bench.store, &format!("{}/app:{tag}", registry.host)).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { expected: e, .. } if e == expected), "{tag}: {error}");
        assert_eq!((count(&bench, "layers"), bench.store.images().len()), (0, 0));
    }
}

/// The test of this name, run again as another process.
fn again(test: &str, program: &[&str]) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match program {
        [] => Command::new(exe),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(exe);
            command
        }
    };
    command.args(["--exact", test, "--nocapture"]);
    command
}

const CHILD: &str = "DAYTONA_IMAGES_TEST_CHILD";

#[tokio::test]
async fn a_killed_pull_leaves_nothing_half_and_the_next_one_goes_on() {
    if let Ok(child) = std::env::var(CHILD) {
        let (dir, name) = child.split_once(' ').unwrap();
        let store = store(Path::new(dir));
        let name = ImageRef::parse(name).unwrap();
        let told = Mutex::new(Vec::new());
        let tell = |event: Event| {
            let text = format!("{event:?}");
            let kind = text.split_whitespace().next().unwrap().to_owned();
            if !told.lock().unwrap().contains(&kind) {
                println!("\nEVENT {kind}");
                told.lock().unwrap().push(kind);
            }
        };
        store.pull(&name, &PullOptions::default(), &tell).await.unwrap();
        println!("\nEVENT End");
        return;
    }
    let Some(registry) = Registry::start(false) else { return };
    let small = (Tar::new().file("small", b"s").bytes(), Packing::Gzip);
    let text = vec![b'x'; 20_000];
    let many = (0..2000).fold(Tar::new(), |tar, n| tar.file(&format!("many/{n}"), &text)).bytes();
    let large = (Tar::new().file("large", &noise(2_000_000)).bytes(), Packing::Plain);
    let blob = crate::common::digest(&large.0);
    registry.push_image("app", "1", &[small, (many, Packing::Gzip), large]).await;
    let (asked, wanted) = (AtomicUsize::new(0), blob.clone());
    let proxy = Proxy::start(&registry.host, move |request| {
        let first = request.is_blob(&wanted) && asked.fetch_add(1, Ordering::Relaxed) == 0;
        if first { Fate::Stall(1_000_000) } else { Fate::Pass }
    });
    let name = format!("{}/app:1", proxy.host);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for kill_at in ["Downloading", "Unpacking", "Done", "End"] {
        let mut child = again("faults::a_killed_pull_leaves_nothing_half_and_the_next_one_goes_on", &[])
            .env(CHILD, format!("{} {name}", path.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Read to the end of the child, which else could not write.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let found = lines.any(|line| line == format!("EVENT {kill_at}"));
        if kill_at == "Downloading" {
            proxy.wait_stalled(1);
            let file = path.join("downloads").join(blob.strip_prefix("sha256:").unwrap());
            while std::fs::metadata(&file).map_or(0, |meta| meta.len()) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found || kill_at == "Downloading", "no {kill_at}");
        // Whatever is counted is whole.
        let store = store(&path);
        for entry in std::fs::read_dir(path.join("layers")).unwrap() {
            let entry = entry.unwrap().path();
            assert!(entry.extension().is_some() || entry.with_extension("json").exists(), "{}", entry.display());
        }
        assert_eq!(std::fs::read_dir(path.join("tmp")).unwrap().count(), 0);
        if let Some(image) = store.image(&name) {
            assert_eq!(content(&image, "large"), noise(2_000_000));
            assert_eq!(crate::common::tree(&image.layers[1].path).len(), 2001);
        }
    }
    let image = pull(&store(&path), &name).await.unwrap();
    assert_eq!((content(&image, "large"), content(&image, "small")), (noise(2_000_000), b"s".to_vec()));
    assert_eq!(crate::common::tree(&image.layers[1].path).len(), 2001);
    let requests = proxy.blob_requests(&blob);
    assert!(!requests[1].header("range").unwrap().starts_with("bytes=0-"), "{requests:?}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_next_pull_works_once_there_is_room() {
    const NAME: &str = "faults::a_full_disk_is_named_and_the_next_pull_works_once_there_is_room";
    if std::env::var_os(CHILD).is_none() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: {NAME}: only root may mount a small disk");
            return;
        }
        // What is mounted goes with the process.
        let unshare = ["unshare", "--mount", "--propagation", "private"];
        let child = again(NAME, &unshare).env(CHILD, "1").output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        return;
    }
    let Some(registry) = Registry::start(false) else { return };
    let disk = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(disk.path()).status();
        assert!(done.unwrap().success());
    };
    mount("size=12m,mode=755");
    let large = Tar::new().file("large", &noise(20_000_000)).bytes();
    registry.push_image("download", "1", &[(large, Packing::Plain)]).await;
    // Small to download, large unpacked.
    let packed = Tar::new().file("zeros", &vec![0; 20_000_000]).bytes();
    registry
        .push_image("unpack", "1", &[(Tar::new().file("f", b"1").bytes(), Packing::Gzip), (packed, Packing::Gzip)])
        .await;
    let store = store(&disk.path().join("store"));
    for repository in ["download", "unpack"] {
        let error = pull(&store, &format!("{}/{repository}:1", registry.host)).await.unwrap_err();
        assert!(matches!(&error, Error::NoSpace(_)), "{repository}: {error}");
        assert!(error.to_string().contains("no space left"), "{error}");
        assert!(store.images().is_empty());
    }
    // What the attempts took is given back.
    let small = Tar::new().file("small", &noise(4_000_000)).bytes();
    registry.push_image("small", "1", &[(small, Packing::Plain)]).await;
    let image = pull(&store, &format!("{}/small:1", registry.host)).await.unwrap();
    assert_eq!(content(&image, "small").len(), 4_000_000);
    mount("remount,size=64m");
    for (repository, file) in [("download", "large"), ("unpack", "zeros")] {
        let image = pull(&store, &format!("{}/{repository}:1", registry.host)).await.unwrap();
        assert_eq!(content(&image, file).len(), 20_000_000);
    }
    drop(store);
    assert!(Command::new("umount").arg("--lazy").arg(disk.path()).status().unwrap().success());
}
