//! What a sandbox stores.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use daytona_runtime::{RuntimeError, RuntimeKind};

use crate::support::spec;
use crate::world::{Outcome, World};

pub(crate) async fn files_survive_a_restart(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    sandbox.run("mkdir -p work && echo kept > work/file && chmod 750 work/file").await?;
    if world.isolated() {
        sandbox.run("echo x > /tmp/kept; echo x > /var/tmp/kept").await?;
    }
    for force in [false, true] {
        world.runtime.stop("a", force).await?;
        assert!(world.runtime.running().is_empty());
        let sandbox = world.start("a").await?;
        assert_eq!(sandbox.run("cat work/file; stat -c %a work/file").await?, "kept\n750");
        if world.isolated() {
            sandbox.run("test -e /tmp/kept -a -e /var/tmp/kept").await?;
        }
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn snapshot_copies_what_is_stored(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let mut all = spec("a");
    if world.runtime.probe().root {
        "root".clone_into(&mut all.user);
    }
    let sandbox = world.start_with(all).await?;
    sandbox
        .run("umask 027; mkdir -p d; echo one > d/file; ln d/file d/same; ln -s d/file link; mkfifo pipe; chmod 500 d")
        .await?;
    if world.runtime.probe().root {
        sandbox.run("rm /usr/bin/env; echo x > /usr/bin/new").await?;
    }
    let dest = world.data.path().join("snapshot");
    let early = world.runtime.snapshot("a", &dest).await;
    assert!(matches!(early, Err(RuntimeError::Invalid(_))), "{early:?}");
    world.runtime.stop("a", false).await?;
    world.runtime.snapshot("a", &dest).await?;
    let home = dest.join("home");
    assert_eq!(fs::read_to_string(home.join("d/file"))?, "one\n");
    assert_eq!(fs::metadata(home.join("d/file"))?.permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(home.join("d"))?.permissions().mode() & 0o777, 0o500);
    assert_eq!(fs::read_link(home.join("link"))?.to_str(), Some("d/file"));
    let inode = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(home.join(path)).map(|metadata| metadata.ino())
    };
    assert_eq!(inode("d/file")?, inode("d/same")?);
    if world.runtime.probe().root {
        assert!(dest.join("upper/usr/bin/new").exists());
        assert!(fs::symlink_metadata(dest.join("upper/usr/bin/env")).is_ok(), "the deletion");
    }
    let twice = world.runtime.snapshot("a", &dest).await;
    assert!(twice.is_err());
    let missing = world.runtime.snapshot("b", &world.data.path().join("x")).await;
    assert!(matches!(missing, Err(RuntimeError::NotFound { .. })), "{missing:?}");
    fs::set_permissions(home.join("d"), fs::Permissions::from_mode(0o700))?;
    world.end().await;
    Ok(())
}

/// What is hard to copy: links, pipes, what its own user may not read, what was deleted from the layers below.
const HARD: &str = "umask 027; mkdir -p d/shut; echo one > d/file; ln d/file same; ln -s d/file link; mkfifo pipe; \
                    echo in > d/shut/in; chmod 0 d/shut; echo x > closed; chmod 0 closed; touch -d @981173106 d/file";
const HARD_SEEN: &str = "stat -c '%a %h %Y' d/file; readlink link; [ same -ef d/file -a -p pipe ] && echo linked; \
                         stat -c %a closed d/shut; chmod 700 closed d/shut; cat closed d/shut/in; chmod 0 closed d/shut";
const HARD_WANTED: &str = "640 2 981173106\nd/file\nlinked\n0\n0\nx\nin";
const LAYERS: &str = "rm -f /etc/shells; rm -rf /etc/skel; mkdir /etc/skel; echo new > /etc/profile";
const LAYERS_SEEN: &str = "[ -e /etc/shells ] || ls -A /etc/skel; cat /etc/profile";

pub(crate) async fn archives_and_copies_keep_everything(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let as_root = |id: &str| {
        let mut spec = spec(id);
        if world.runtime.probe().root {
            "root".clone_into(&mut spec.user);
        }
        spec
    };
    let sandbox = world.start_with(as_root("a")).await?;
    sandbox.run(HARD).await?;
    if world.isolated() {
        sandbox.run(LAYERS).await?;
    }
    assert!(matches!(world.runtime.pack("a").await, Err(RuntimeError::Invalid(_))), "it runs");
    world.runtime.stop("a", false).await?;
    world.runtime.pack("a").await?;
    world.runtime.delete_stored("a").await?;
    assert!(!world.runtime.sandbox_dir("a").exists());
    world.runtime.unpack("a").await?;
    assert!(world.runtime.unpack("a").await.is_err(), "it is there already");
    world.runtime.delete_archive("a").await?;
    assert_eq!(fs::read_dir(world.runtime.archives())?.count(), 0);
    world.runtime.copy("a", "b").await?;
    for id in ["a", "b"] {
        let sandbox = world.start_with(as_root(id)).await?;
        assert_eq!(sandbox.run(HARD_SEEN).await?, HARD_WANTED, "{id}");
        if world.isolated() {
            assert_eq!(sandbox.run(LAYERS_SEEN).await?, "new", "{id}");
            assert_eq!(sandbox.run("cat /etc/hostname").await?, format!("host-{id}"));
        }
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn destroy_removes_everything(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    sandbox.run("mkdir -p shut/in; echo x > shut/in/file; chmod 0 shut/in; chmod 500 shut").await?;
    world.runtime.destroy("a").await?;
    assert!(!world.runtime.sandbox_dir("a").exists());
    assert!(world.runtime.running().is_empty());
    assert!(sandbox.try_run("true").await.is_err(), "the agent is gone");
    // Again, and one that never was.
    world.runtime.destroy("a").await?;
    world.runtime.destroy("b").await?;
    let leftovers = fs::read_dir(world.data.path().join("trash"))?.count();
    assert_eq!(leftovers, 0);
    // The name is free again, with nothing of the old one.
    let sandbox = world.start("a").await?;
    assert_ne!(sandbox.try_run("test -e shut").await?.0, 0);
    world.end().await;
    Ok(())
}

pub(crate) async fn sparse_files_stay_sparse(kind: RuntimeKind) -> Outcome {
    use std::os::unix::fs::MetadataExt;

    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    // The largest that every file system of a Linux machine takes.
    sandbox.run("truncate -s 8T f && printf middle | dd of=f bs=1 seek=5T conv=notrunc status=none").await?;
    world.runtime.stop("a", false).await?;
    let begun = std::time::Instant::now();
    let dest = world.data.path().join("snapshot");
    world.runtime.snapshot("a", &dest).await?;
    world.runtime.copy("a", "b").await?;
    world.runtime.pack("a").await?;
    assert!(fs::metadata(world.runtime.archive_file("a"))?.len() < 10 << 20);
    world.runtime.delete_stored("a").await?;
    world.runtime.unpack("a").await?;
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    for file in [dest.join("home/f"), world.home("a").join("f"), world.home("b").join("f")] {
        let found = fs::metadata(&file)?;
        assert_eq!(found.len(), 8 << 40);
        assert!(found.blocks() * 512 < 1 << 20, "{}: {} blocks", file.display(), found.blocks());
    }
    for id in ["a", "b"] {
        let sandbox = world.start(id).await?;
        assert_eq!(sandbox.run("dd if=f bs=1 skip=5T count=6 status=none").await?, "middle");
    }
    world.runtime.delete_folder(&dest).await?;
    world.end().await;
    Ok(())
}
