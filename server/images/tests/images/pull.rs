//! Pulls from a real registry on a loopback port: what is chosen, who is asked, and with which credentials.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::common::proxy::{Fate, Proxy};
use crate::common::{Bench, Packing, Registry, Tar, idle, names, noise, read};
use daytona_images::{Credentials, Error, Event, Image, ImageRef, PullOptions, Quiet, Store};
use serde_json::json;

async fn pull(store: &Store, name: &str, options: &PullOptions) -> Result<Image, Error> {
    store.pull(&ImageRef::parse(name).unwrap(), options, &Quiet).await
}

fn file(content: &[u8]) -> Vec<u8> {
    Tar::new().file("f", content).bytes()
}

#[tokio::test]
async fn layers_of_every_packing_are_unpacked_once() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let packings = [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::Docker];
    let layers: Vec<_> = packings
        .into_iter()
        .enumerate()
        .map(|(at, packing)| (Tar::new().file(&format!("f{at}"), format!("{packing:?}").as_bytes()).bytes(), packing))
        .collect();
    let digest = registry.push_image("all", "1", &layers).await;
    let events = Mutex::new(Vec::new());
    let name = ImageRef::parse(&format!("{}/all:1", registry.host)).unwrap();
    let note = |event| events.lock().unwrap().push(event);
    let image = bench.store.pull(&name, &PullOptions::default(), &note).await.unwrap();
    assert_eq!(image.digest, digest);
    assert_eq!(image.layers.iter().map(|layer| &*layer.diff_id).collect::<Vec<_>>(), {
        layers.iter().map(|(bytes, _)| crate::common::digest(bytes)).collect::<Vec<_>>()
    });
    for (at, packing) in packings.into_iter().enumerate() {
        assert_eq!(read(&image, &format!("f{at}")), Some(format!("{packing:?}")));
    }
    assert_eq!((image.config.env.as_slice(), image.config.cmd.as_slice()), (&["A=b".into()][..], &["sh".into()][..]));
    let events = events.into_inner().unwrap();
    assert!(matches!(&events[0], Event::Resolved { digest: d, layers: 4, .. } if *d == digest), "{events:?}");
    let done = events.iter().filter(|event| matches!(event, Event::Done { .. })).count();
    let whole = |event: &&Event| matches!(event, Event::Downloading { current, total, .. } if current == total);
    assert_eq!((done, events.iter().filter(whole).count()), (4, 4), "{events:?}");
    // Another image of the same layers brings nothing new, and a pull of a name that is there asks nobody.
    let other = layers.iter().map(|(bytes, _)| (bytes.clone(), Packing::Plain)).collect::<Vec<_>>();
    registry.push_config("other", "1", &other, json!({"Env": ["C=d"]})).await;
    let proxy = Proxy::start(&registry.host, |_| Fate::Pass);
    let again = pull(&bench.store, &format!("{}/other:1", proxy.host), &PullOptions::default()).await.unwrap();
    assert_eq!((&again.layers, again.config.env.join(" ").as_str()), (&image.layers, "C=d"));
    let asked = proxy.requests().len();
    pull(&bench.store, &format!("{}/other:1", proxy.host), &PullOptions::default()).await.unwrap();
    assert_eq!(proxy.requests().len(), asked);
}

#[tokio::test]
async fn a_tag_that_moved_is_seen_when_asked_for() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let name = format!("{}/app", registry.host);
    let first = registry.push_image("app", "latest", &[(file(b"1"), Packing::Gzip)]).await;
    let fresh = PullOptions { refresh: true, ..PullOptions::default() };
    assert_eq!(pull(&bench.store, &name, &fresh).await.unwrap().digest, first);
    let second = registry.push_image("app", "latest", &[(file(b"2"), Packing::Gzip)]).await;
    assert_eq!(pull(&bench.store, &name, &PullOptions::default()).await.unwrap().digest, first);
    let moved = pull(&bench.store, &name, &fresh).await.unwrap();
    assert_eq!((moved.digest.as_str(), read(&moved, "f").as_deref()), (second.as_str(), Some("2")));
    // The earlier one is still there by its digest.
    let pinned = pull(&bench.store, &format!("{name}@{first}"), &fresh).await.unwrap();
    assert_eq!(read(&pinned, "f").as_deref(), Some("1"));
}

#[tokio::test]
async fn an_index_leads_to_the_image_of_the_platform() {
    let Some(registry) = Registry::start(false) else { return };
    let mut entries = Vec::new();
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    for (at, (os, architecture, variant)) in [
        ("unknown", "unknown", ""),
        ("linux", "s390x", ""),
        ("linux", here, ""),
        ("linux", "arm", "v6"),
        ("linux", "arm", "v7"),
        ("windows", here, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("{os}/{architecture}/{variant}");
        let digest = registry.push_image("multi", &format!("t{at}"), &[(file(text.as_bytes()), Packing::Gzip)]).await;
        let size = std::fs::metadata(registry.blob_file(&digest)).unwrap().len();
        let mut platform = json!({"os": os, "architecture": architecture});
        if !variant.is_empty() {
            platform["variant"] = variant.into();
        }
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": platform,
        }));
    }
    let index = |media_type: &str, entries: &[serde_json::Value]| json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    let oci = "application/vnd.oci.image.index.v1+json";
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    let inner = registry.push_manifest("multi", "oci", &index(oci, &entries)).await;
    registry.push_manifest("multi", "docker", &index(docker, &entries)).await;
    let size = std::fs::metadata(registry.blob_file(&inner)).unwrap().len();
    let nested = json!({"mediaType": oci, "digest": inner, "size": size});
    registry.push_manifest("multi", "nested", &index(oci, &[nested])).await;
    let bench = Bench::new();
    for (tag, platform, expected) in [
        ("oci", None, format!("linux/{here}/")),
        ("docker", None, format!("linux/{here}/")),
        ("nested", None, format!("linux/{here}/")),
        ("oci", Some("linux/arm/v7"), "linux/arm/v7".to_owned()),
        ("oci", Some("linux/s390x"), "linux/s390x/".to_owned()),
    ] {
        let options = PullOptions { platform: platform.map(str::to_owned), ..PullOptions::default() };
        let image = pull(&bench.store, &format!("{}/multi:{tag}", registry.host), &options).await.unwrap();
        assert_eq!(read(&image, "f"), Some(expected), "{tag} {platform:?}");
    }
    let options = PullOptions { platform: Some("linux/riscv64".to_owned()), ..PullOptions::default() };
    let error = pull(&bench.store, &format!("{}/multi:oci", registry.host), &options).await.unwrap_err();
    let Error::NotFound(why) = &error else { panic!("{error}") };
    assert!(
        why.contains("linux/riscv64") && why.contains(&format!("linux/{here}")) && !why.contains("unknown"),
        "{why}"
    );
}

#[tokio::test]
async fn what_is_no_image_for_here_is_refused_by_name() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let refused = async |name: &str| {
        pull(&bench.store, &format!("{}/{name}", registry.host), &PullOptions::default()).await.unwrap_err()
    };
    for missing in ["nothing:1", "nothing@sha256:0000000000000000000000000000000000000000000000000000000000000000"] {
        let error = refused(missing).await;
        assert!(matches!(&error, Error::NotFound(why) if why.contains("nothing")), "{error}");
    }
    let mut config = registry.push_blob("chart", b"{}").await;
    config["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": oci, "config": config, "layers": []});
    registry.push_manifest("chart", "1", &manifest).await;
    let error = refused("chart:1").await;
    assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("helm")), "{error}");
    // The port of nobody.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = pull(&bench.store, &format!("{free}/x:1"), &PullOptions::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { registry, .. } if *registry == free.to_string()), "{error}");
    assert!(bench.store.images().is_empty());
}

#[tokio::test]
async fn a_registry_with_a_password_wants_the_right_one() {
    let Some(registry) = Registry::start(true) else { return };
    registry.push_image("private", "1", &[(file(b"private"), Packing::Gzip)]).await;
    let bench = Bench::new();
    let name = format!("{}/private:1", registry.host);
    let with = |password: &str| PullOptions {
        credentials: HashMap::from([(
            registry.host.clone(),
            Credentials::Password { user: "user".to_owned(), password: password.into() },
        )]),
        ..PullOptions::default()
    };
    let error = pull(&bench.store, &name, &PullOptions::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorized(why) if why.contains("no credentials")), "{error}");
    let error = pull(&bench.store, &name, &with("wrong-password")).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorized(why) if why.contains("not accepted")), "{error}");
    assert!(!error.to_string().contains("wrong-password"));
    assert!(!format!("{:?}", with("wrong-password")).contains("wrong-password"));
    let image = pull(&bench.store, &name, &with("secret")).await.unwrap();
    assert_eq!(read(&image, "f").as_deref(), Some("private"));
}

/// A registry that gives tokens for a password, and sends who wants a layer to another host.
fn token_registry(upstream: &str, storage: &str) -> Proxy {
    let storage = storage.to_owned();
    Proxy::start(upstream, move |request| {
        let host = request.header("host").unwrap().to_owned();
        let unauthorized = |challenge: String| Fate::Answer(format!("401 Unauthorized{challenge}"), Vec::new());
        if request.path.starts_with("/token") {
            // `user:secret`
            let known = request.header("authorization") == Some("Basic dXNlcjpzZWNyZXQ=");
            let scoped =
                request.path.contains("scope=repository%3Aapp%3Apull") && request.path.contains("service=test");
            return if known && scoped {
                Fate::Answer("200 OK\r\nContent-Type: application/json".to_owned(), br#"{"token": "t0ken"}"#.to_vec())
            } else {
                unauthorized(String::new())
            };
        }
        if request.header("authorization") != Some("Bearer t0ken") {
            let challenge = format!("\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"test\"");
            return unauthorized(challenge);
        }
        if request.path.contains("/blobs/") {
            let to = format!("http://{storage}{}", request.path);
            return Fate::Answer(format!("307 Temporary Redirect\r\nLocation: {to}"), Vec::new());
        }
        Fate::Pass
    })
}

#[tokio::test]
async fn tokens_are_fetched_and_go_to_their_registry_alone() {
    let Some(registry) = Registry::start(false) else { return };
    let digest = registry.push_image("app", "1", &[(file(b"by token"), Packing::Gzip)]).await;
    let storage = Proxy::start(&registry.host, |_| Fate::Pass);
    let front = token_registry(&registry.host, &storage.host);
    let name = format!("{}/app:1", front.host);
    let with = |credentials| PullOptions {
        credentials: HashMap::from([(front.host.clone(), credentials)]),
        ..PullOptions::default()
    };
    let password = |text: &str| Credentials::Password { user: "user".to_owned(), password: text.into() };
    for options in [PullOptions::default(), with(password("wrong")), with(Credentials::Token("other".into()))] {
        let error = pull(&Bench::new().store, &name, &options).await.unwrap_err();
        assert!(matches!(&error, Error::Unauthorized(_)), "{error}");
    }
    for options in [with(password("secret")), with(Credentials::Token("t0ken".into()))] {
        let bench = Bench::new();
        let image = pull(&bench.store, &name, &options).await.unwrap();
        assert_eq!((image.digest.as_str(), read(&image, "f").as_deref()), (digest.as_str(), Some("by token")));
    }
    let sent = storage.requests();
    assert!(!sent.is_empty() && sent.iter().all(|request| request.header("authorization").is_none()), "{sent:?}");
}

#[tokio::test]
async fn mirrors_are_asked_first_and_fallen_through() {
    let Some(registry) = Registry::start(false) else { return };
    let layer = (file(b"mirrored"), Packing::Plain);
    let blob = crate::common::digest(&layer.0);
    let wrong = vec![b'x'; layer.0.len()];
    let digest = registry.push_image("app", "1", std::slice::from_ref(&layer)).await;
    registry.push_image("cache/app", "1", std::slice::from_ref(&layer)).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let broken = Proxy::start(&registry.host, |_| Fate::Answer("503 Service Unavailable".to_owned(), Vec::new()));
    let lying = Proxy::start(&registry.host, move |request| {
        if request.is_blob(&blob) { Fate::Answer("200 OK".to_owned(), wrong.clone()) } else { Fate::Pass }
    });
    let good = Proxy::start(&registry.host, |_| Fate::Pass);
    // A registry that nobody could ask.
    let name = "registry.invalid/app:1";
    let password = Credentials::Password { user: "user".to_owned(), password: "secret".into() };
    let options = |mirrors: &[&str]| PullOptions {
        mirrors: HashMap::from([("registry.invalid".to_owned(), mirrors.iter().map(|&m| m.to_owned()).collect())]),
        credentials: HashMap::from([("registry.invalid".to_owned(), password.clone())]),
        ..PullOptions::default()
    };
    let with_path = format!("{}/cache/", good.host);
    for mirrors in [
        vec![good.host.as_str()],
        vec![dead.as_str(), broken.host.as_str(), good.host.as_str()],
        vec![lying.host.as_str(), good.host.as_str()],
        vec![with_path.as_str()],
    ] {
        let bench = Bench::new();
        let events = Mutex::new(Vec::new());
        let note = |event| events.lock().unwrap().push(event);
        let parsed = ImageRef::parse(name).unwrap();
        let image = bench.store.pull(&parsed, &options(&mirrors), &note).await.unwrap();
        assert_eq!((image.digest.as_str(), read(&image, "f").as_deref()), (digest.as_str(), Some("mirrored")));
        assert!(bench.store.image(name).is_some());
        let retried = events.into_inner().unwrap().iter().filter(|e| matches!(e, Event::Retrying { .. })).count();
        assert_eq!(retried, mirrors.len() - 1, "{mirrors:?}");
    }
    assert!(good.requests().iter().any(|request| request.path.starts_with("/v2/cache/app/")));
    // Credentials of a registry are not for its mirrors.
    assert!(good.requests().iter().all(|request| request.header("authorization").is_none()));
    // Where a mirror has nothing the registry itself is asked, and what that says counts.
    let error = pull(&Bench::new().store, name, &options(&[&dead])).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { registry, .. } if registry == "registry.invalid"), "{error}");
    let own = PullOptions {
        mirrors: HashMap::from([(registry.host.clone(), vec![broken.host.clone()])]),
        ..PullOptions::default()
    };
    let image = pull(&Bench::new().store, &format!("{}/app:1", registry.host), &own).await.unwrap();
    assert_eq!(image.digest, digest);
}

#[tokio::test]
async fn equal_pulls_at_once_share_the_download() {
    let Some(registry) = Registry::start(false) else { return };
    let layers = [(noise(300_000), Packing::Plain), (noise(200_000), Packing::Plain)]
        .map(|(bytes, packing)| (Tar::new().file("f", &bytes).bytes(), packing));
    registry.push_image("app", "1", &layers).await;
    let proxy = Proxy::start(&registry.host, |_| Fate::Pass);
    let bench = Bench::new();
    let name = format!("{}/app:1", proxy.host);
    let options = PullOptions::default();
    let one = || pull(&bench.store, &name, &options);
    let (a, b, c) = tokio::join!(one(), one(), one());
    let images = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert!(images.iter().all(|image| image.layers == images[0].layers && image.digest == images[0].digest));
    for (bytes, _) in &layers {
        assert_eq!(proxy.blob_requests(&crate::common::digest(bytes)).len(), 1);
    }
    assert_eq!(bench.store.images().len(), 1);
    assert_eq!(std::fs::read_dir(bench.dir.path().join("store/downloads")).unwrap().count(), 0);
}

#[tokio::test]
async fn builds_begin_with_images_of_a_registry() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let config = json!({"Env": ["A=b"], "WorkingDir": "/srv", "OnBuild": ["COPY f trigger", "ENV T=$A"]});
    let base = Tar::new().folder("srv", 0o755).file("srv/base", b"base").bytes();
    registry.push_config("base", "1", &[(base, Packing::Zstd)], config).await;
    registry.push_image("tools", "1", &[(Tar::new().file("tool", b"tool").bytes(), Packing::Gzip)]).await;
    let text = format!("ARG R={0}\nFROM $R/base:1\nCOPY --from={0}/tools:1 /tool bin/\nCOPY f $T\n", registry.host);
    let image = bench.build(&text, Some(Tar::new().file("f", b"context")), &idle()).await.unwrap();
    assert_eq!(names(&image), ["srv", "srv/b", "srv/base", "srv/bin", "srv/bin/tool", "srv/trigger"]);
    assert_eq!(image.config.env, ["A=b", "T=b"]);
    assert!(image.config.on_build.is_empty());
    let log = bench.log.text();
    assert!(log.contains("Pulling from") && log.contains("build trigger: COPY f trigger"), "{log}");
}
