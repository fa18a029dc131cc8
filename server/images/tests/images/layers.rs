//! What is in layers of images, and how it lies in the store.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::common::{Bench, Packing, Registry, Tar, tree};
use daytona_images::{Error, Image, ImageRef, PullOptions, Quiet, Store, StoreOptions};

async fn pull(registry: &Registry, store: &Store, layers: &[(Vec<u8>, Packing)]) -> Result<Image, Error> {
    registry.push_image("app", "1", layers).await;
    let name = ImageRef::parse(&format!("{}/app:1", registry.host)).unwrap();
    let fresh = PullOptions { refresh: true, ..PullOptions::default() };
    store.pull(&name, &fresh, &Quiet).await
}

async fn layer(registry: &Registry, bench: &Bench, tar: Tar) -> PathBuf {
    pull(registry, &bench.store, &[(tar.bytes(), Packing::Gzip)]).await.unwrap().layers[0].path.clone()
}

fn is_whiteout(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let name = if crate::common::options().user_xattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
    let mut value = [0; 8];
    rustix::fs::lgetxattr(path, name, &mut value[..]).is_ok_and(|n| &value[..n] == b"y")
}

#[tokio::test]
async fn whiteouts_are_in_the_form_of_an_overlay() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let path = layer(
        &registry,
        &bench,
        Tar::new()
            .file(".wh.gone", b"")
            .folder("kept", 0o755)
            .file("kept/.wh.inner", b"")
            .folder("anew", 0o755)
            .file("anew/.wh..wh..opq", b"")
            .file("anew/file", b"1")
            // The folder that is not named itself.
            .file("deep/er/.wh.x", b"")
            // Of this layer itself: what is hidden is beneath.
            .folder("replaced", 0o755)
            .file("replaced/new", b"2")
            .file(".wh.replaced", b"")
            .file(".wh.first", b"")
            .folder("first", 0o700)
            .file("first/f", b"3")
            // Notes of another union file system.
            .file(".wh..wh.plnk", b"")
            .file(".wh.", b""),
    )
    .await;
    for gone in ["gone", "kept/inner", "deep/er/x"] {
        assert!(is_whiteout(&path.join(gone)), "{gone}");
    }
    for opaque in ["anew", "replaced", "first"] {
        assert!(is_opaque(&path.join(opaque)), "{opaque}");
    }
    assert!(!is_opaque(&path.join("kept")) && !is_opaque(&path));
    assert_eq!(std::fs::read_to_string(path.join("replaced/new")).unwrap(), "2");
    assert_eq!(tree(&path).iter().filter(|name| name.contains(".wh.")).count(), 0);
    // Builds see through the layers as the kernel does.
    let lower = Tar::new().file("gone", b"").file("anew/old", b"").file("kept/inner", b"").file("kept/other", b"");
    let upper = Tar::new()
        .file(".wh.gone", b"")
        .file("anew/.wh..wh..opq", b"")
        .file("anew/file", b"1")
        .file("kept/.wh.inner", b"");
    registry.push_image("two", "1", &[(lower.bytes(), Packing::Gzip), (upper.bytes(), Packing::Zstd)]).await;
    let text = format!("FROM scratch\nCOPY --from={}/two:1 / /\n", registry.host);
    let image = bench.build(&text, None, &crate::common::idle()).await.unwrap();
    assert_eq!(crate::common::names(&image), ["anew", "anew/file", "kept", "kept/other"]);
}

#[tokio::test]
async fn an_overlay_of_the_layers_shows_the_image() {
    const NAME: &str = "an_overlay_of_the_layers_shows_the_image";
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: {NAME}: only root may mount the layers");
        return;
    }
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let lower = Tar::new().folder("d", 0o755).file("d/old", b"").file("gone", b"").file("kept", b"lower");
    let upper = Tar::new().file(".wh.gone", b"").file("d/.wh..wh..opq", b"").file("d/new", b"").file("e", b"");
    let image =
        pull(&registry, &bench.store, &[(lower.bytes(), Packing::Gzip), (upper.bytes(), Packing::Gzip)]).await.unwrap();
    let lowerdirs: Vec<_> = image.lowerdirs().iter().map(|path| path.display().to_string()).collect();
    let at = bench.dir.path().join("mounted");
    std::fs::create_dir(&at).unwrap();
    let script = format!(
        "mount -t overlay -o lowerdir={} none {1} && cd {1} && find . | sort",
        lowerdirs.join(":"),
        at.display()
    );
    let found = std::process::Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    assert_eq!(String::from_utf8_lossy(&found.stdout), ".\n./d\n./d/new\n./e\n./kept\n");
}

#[tokio::test]
async fn links_names_and_attributes_arrive() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(200));
    let odd = ["with space", "new\nline", "back\\slash", "-dash", "ünïcode", "a:b", "quote'\"", "*?[x]"];
    let mut tar = Tar::new()
        .folder("", 0o751)
        .file("file", b"linked")
        .hard_link("hard", "file")
        .hard_link("absolute", "/file")
        .symlink("soft", "file")
        .hard_link("hard-of-soft", "soft")
        .symlink("dangling", "/nowhere/at/all")
        .mode("setuid", b"#!", 0o4755)
        .folder("sticky", 0o1777)
        .folder("read-only", 0o555)
        .file("read-only/inside", b"1")
        .mode("unreadable", b"2", 0o000)
        .file("twice", b"first")
        .file("twice", b"second")
        .file("was-file", b"")
        .folder("was-file", 0o755)
        .folder("was-folder", 0o755)
        .file("was-folder/f", b"")
        .file("was-folder", b"now a file")
        .link(tar::EntryType::Fifo, "pipe", "")
        .long(&long, b"long")
        .owned("owned", 1234, 2345)
        .xattr("attributes", &[("user.note", b"n"), ("trusted.overlay.opaque", b"y"), ("user.overlay.redirect", b"/")]);
    for name in odd {
        tar = tar.file(name, name.as_bytes());
    }
    let path = layer(&registry, &bench, tar).await;
    let meta = |name: &str| std::fs::symlink_metadata(path.join(name)).unwrap();
    let owners = crate::common::options().keep_owners;
    assert_eq!(meta("file").nlink(), 3);
    assert!(meta("hard").ino() == meta("file").ino() && meta("absolute").ino() == meta("file").ino());
    assert_eq!(std::fs::read_link(path.join("hard-of-soft")).unwrap(), Path::new("file"));
    assert_eq!(std::fs::read_link(path.join("dangling")).unwrap(), Path::new("/nowhere/at/all"));
    let mode = |name: &str| meta(name).permissions().mode() & 0o7777;
    let expected = if owners { (0o751, 0o4755, 0o1777, 0o555, 0) } else { (0o751, 0o755, 0o1777, 0o755, 0o400) };
    assert_eq!((mode(""), mode("setuid"), mode("sticky"), mode("read-only"), mode("unreadable")), expected);
    assert_eq!(meta("file").mtime(), 1_700_000_000);
    assert_eq!((meta("sticky").mtime(), meta("soft").mtime()), (1_700_000_000, 1_700_000_000));
    for (name, content) in
        [("twice", "second"), ("was-folder", "now a file"), (&long, "long"), ("read-only/inside", "1")]
    {
        assert_eq!(std::fs::read_to_string(path.join(name)).unwrap(), content);
    }
    assert!(meta("was-file").is_dir() && meta("pipe").file_type().is_fifo());
    for name in odd {
        assert_eq!(std::fs::read_to_string(path.join(name)).unwrap(), name);
    }
    if owners {
        assert_eq!((meta("owned").uid(), meta("owned").gid()), (1234, 2345));
    }
    let xattr = |name: &str| {
        let mut value = [0; 8];
        rustix::fs::lgetxattr(path.join("attributes"), name, &mut value[..]).map(|n| value[..n].to_vec())
    };
    // A disk without extended attributes loses the first one; overlay's own never arrive.
    assert!(matches!(xattr("user.note"), Err(rustix::io::Errno::NOTSUP)) || xattr("user.note").unwrap() == b"n");
    assert!(xattr("trusted.overlay.opaque").is_err() && xattr("user.overlay.redirect").is_err());
}

#[tokio::test]
async fn layers_do_not_reach_outside() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let target = outside.to_str().unwrap();
    let up = "../".repeat(12) + target.trim_start_matches('/');
    let inside = |tar: Tar| layer(&registry, &bench, tar);
    // Links that lead out lead, from within, to the root of the layer.
    for link in [target, &*up] {
        let path = inside(
            Tar::new()
                .symlink("l", link)
                .file("l/evil", b"x")
                .folder("l/dir", 0o777)
                .symlink("l/link", "x")
                .file("l/.wh.secret", b"")
                .file("l/.wh..wh..opq", b""),
        )
        .await;
        assert_eq!(tree(&outside), ["secret"]);
        assert!(path.join("l").symlink_metadata().unwrap().is_symlink() || path.join("l").is_dir());
    }
    let path = inside(Tar::new().file("/absolute", b"x").symlink("root", "/").file("root/up", b"y")).await;
    assert_eq!(tree(&path), ["absolute", "root", "up"]);
    // Attributes of a link's folder are those of the layer.
    let before = std::fs::metadata(&outside).unwrap();
    inside(Tar::new().folder("d", 0o777).symlink("d", target)).await;
    let after = std::fs::metadata(&outside).unwrap();
    assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
    for (bad, why) in [
        (Tar::new().file("../up", b"x"), "../up"),
        (Tar::new().file("a/../../up", b"x"), "a/../../up"),
        (Tar::new().folder("..", 0o777), ".."),
        (Tar::new().symlink("../l", "x"), "../l"),
        (Tar::new().file("f", b"").hard_link("h", "../../f"), "../../f"),
        (Tar::new().file("../.wh.x", b""), "../.wh.x"),
        (Tar::new().hard_link("h", "missing"), "missing"),
    ] {
        let error = pull(&registry, &bench.store, &[(bad.bytes(), Packing::Gzip)]).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { what, .. } if what.starts_with("the layer sha256:")), "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    // Through a link a hard link reaches no further than the layer.
    let bad = Tar::new().symlink("l", target).hard_link("h", "l/secret");
    let error = pull(&registry, &bench.store, &[(bad.bytes(), Packing::Gzip)]).await.unwrap_err();
    assert!(matches!(&error, Error::Io { .. } | Error::Corrupt { .. }), "{error}");
    assert_eq!(std::fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
    assert_eq!(std::fs::read_dir(bench.dir.path().join("store/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn devices_are_left_out() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let tar =
        Tar::new().device("disk").link(tar::EntryType::Char, "zero", "").file("f", b"1").hard_link("not-a-disk", "f");
    assert_eq!(tree(&layer(&registry, &bench, tar).await), ["f", "not-a-disk"]);
}

#[tokio::test]
async fn what_is_no_archive_or_too_large_is_said() {
    let Some(registry) = Registry::start(false) else { return };
    let bench = Bench::new();
    let cut = {
        let mut bytes = Tar::new().file("f", &[1; 5000]).bytes();
        bytes.truncate(3000);
        bytes
    };
    for bad in [b"no archive at all, of any kind".to_vec(), vec![7; 2000], cut] {
        let error = pull(&registry, &bench.store, &[(bad, Packing::Gzip)]).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { .. }), "{error}");
    }
    let limits = daytona_images::Limits { layer_bytes: 100_000, layer_entries: 10, layers: 2 };
    let dir = tempfile::tempdir().unwrap();
    let small = Store::open(dir.path(), StoreOptions { limits, ..crate::common::options() }).unwrap();
    let bomb = Tar::new().file("zeros", &vec![0; 1_000_000]).bytes();
    let many = (0..11).fold(Tar::new(), |tar, n| tar.file(&n.to_string(), b"")).bytes();
    let tail = [Tar::new().file("f", b"").bytes(), vec![0; 1_000_000]].concat();
    for (bad, limit) in [(bomb, "100000 bytes"), (many, "10 entries")] {
        let error = pull(&registry, &small, &[(bad, Packing::Zstd)]).await.unwrap_err();
        assert!(matches!(&error, Error::TooLarge { limit: l, .. } if l == limit), "{error}");
    }
    let error = pull(&registry, &small, &[(tail, Packing::Zstd)]).await.unwrap_err();
    assert!(matches!(&error, Error::TooLarge { .. }), "{error}");
    let three = [b"1", b"2", b"3"].map(|text| (Tar::new().file("f", text).bytes(), Packing::Gzip));
    let error = pull(&registry, &small, &three).await.unwrap_err();
    assert!(matches!(&error, Error::TooLarge { limit, .. } if limit == "2 layers"), "{error}");
}
