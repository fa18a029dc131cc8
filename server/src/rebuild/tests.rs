use super::*;

/// A data directory without a store.
fn data_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDir::open(Some(dir.path().to_owned()), false).unwrap());
    dir
}

fn options(dir: &Path) -> Rebuild {
    Rebuild { data_dir: dir.to_owned(), dry_run: false, force: false }
}

fn file(dir: &Path, path: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "x").unwrap();
}

fn manifest<R: Stored>(dir: &Path, record: &R) {
    Keeper::start(dir).unwrap().note_stored(record);
}

fn stored(dir: &Path) -> Contents {
    Contents::read_file(&dir.join(FILE)).unwrap()
}

#[tokio::test]
async fn what_a_manifest_says_is_taken_back() {
    let dir = data_dir();
    let data = dir.path();
    let mut record = Record::sample("one");
    record.labels = [("a".to_owned(), "b".to_owned())].into();
    record.name = "named".to_owned();
    manifest(data, &record);
    file(data, "sandboxes/one/home/file");
    record = Record::sample("two");
    record.state = SandboxState::Archived;
    record.secrets = [("KEY".to_owned(), "gone".to_owned())].into();
    manifest(data, &record);
    file(data, "archives/two.tar.zst");
    let mut volume = Volume::of_files("v", 1);
    volume.name = "data".to_owned();
    manifest(data, &volume);
    fs::create_dir_all(data.join("volumes/v")).unwrap();
    manifest(data, &snapshot::Record { name: "snap".to_owned(), ..default_snapshot("s", Shape::Ns, 5) });
    file(data, "snapshots/s/home/file");

    let dry = rebuild(Rebuild { dry_run: true, ..options(data) }).await.unwrap();
    assert!(dry.dry_run && !data.join(FILE).exists());
    let done = rebuild(options(data)).await.unwrap();
    assert_eq!(done.previous, None);
    let told: Vec<_> = done.found.iter().map(|one| (one.kind, &*one.name, &*one.state, one.taken)).collect();
    assert_eq!(
        told,
        [
            ("volume", "data", "ready", true),
            ("snapshot", "snap", "active", true),
            ("sandbox", "named", "stopped", true),
            ("sandbox", "name-two", "archived", true)
        ]
    );
    assert!(done.found[3].note.as_ref().unwrap().contains("KEY"));
    let now = stored(data);
    assert_eq!(now.sandboxes[0].labels["a"], "b");
    assert!(now.sandboxes[1].archived_at.is_some());
    assert_eq!((now.volumes.len(), now.snapshots.len()), (1, 1));
}

#[tokio::test]
async fn files_without_a_manifest_are_taken_back_as_far_as_they_tell() {
    let dir = data_dir();
    let data = dir.path();
    file(data, "sandboxes/ns/upper/root/x");
    file(data, "sandboxes/ns/home/x");
    file(data, "sandboxes/image/upper/root/x");
    file(data, "sandboxes/image/lower/0");
    file(data, "sandboxes/docker/docker.json");
    file(data, "sandboxes/damaged/home/x");
    file(data, "manifests/sandboxes/damaged.json");
    file(data, "sandboxes/nothing");
    file(data, "sandboxes/new/home/x");
    Manifests::new(data).mark::<Record>("new", Mark::Creating);
    file(data, "volumes/v/x");
    file(data, "snapshots/s/home/x");
    let done = rebuild(options(data)).await.unwrap();
    let taken: Vec<_> = done.found.iter().filter(|one| one.taken).map(|one| &*one.id).collect();
    assert_eq!(taken, ["v", "s", "damaged", "docker", "ns"]);
    assert!(done.found.iter().all(|one| one.note.is_some()));
    let now = stored(data);
    let one = |id: &str| now.sandboxes.iter().find(|record| record.id == id).unwrap();
    assert!(one("ns").network_block_all && one("ns").user == "daytona");
    assert_eq!(one("docker").runtime.to_string(), "docker");
    assert_eq!(one("damaged").runtime.to_string(), "process");
    assert!(data.join("manifests/sandboxes/damaged.damaged").exists());
    // It is not for the next start to delete.
    assert!(!Manifests::new(data).marked::<Record>("new", Mark::Creating));
    assert!(data.join("sandboxes/new/home/x").exists());
}

#[tokio::test]
async fn what_was_to_go_is_left() {
    let dir = data_dir();
    let data = dir.path();
    let mut record = Record::sample("gone");
    record.desired = Desired::Destroyed;
    manifest(data, &record);
    file(data, "sandboxes/gone/home/x");
    manifest(data, &Record { auto_delete: 0, ..Record::sample("ephemeral") });
    file(data, "sandboxes/ephemeral/home/x");
    manifest(data, &Record::sample("empty"));
    Manifests::new(data).mark::<snapshot::Record>("s", Mark::Deleting);
    file(data, "snapshots/s/home/x");
    let done = rebuild(options(data)).await.unwrap();
    assert_eq!(done.found.len(), 4);
    assert!(done.found.iter().all(|one| !one.taken));
    assert!(stored(data).sandboxes.is_empty());
    assert!(Manifests::new(data).marked::<snapshot::Record>("s", Mark::Deleting));
}

#[tokio::test]
async fn a_store_that_can_be_read_is_not_replaced_unless_forced() {
    let dir = data_dir();
    let data = dir.path();
    let (store, _) = Store::sample(&data.join(FILE));
    let known = Record { signing_key: "as it was".to_owned(), ..Record::sample("known") };
    store.put(&known).stored().await.unwrap();
    store.close();
    file(data, "sandboxes/other/home/x");
    manifest(data, &Record { name: "name-known".to_owned(), ..Record::sample("other") });
    let before = fs::read(data.join(FILE)).unwrap();
    let error = rebuild(options(data)).await.unwrap_err();
    assert!(matches!(error, RebuildError::Readable(_)) && error.to_string().contains("--force"), "{error}");
    assert_eq!(fs::read(data.join(FILE)).unwrap(), before);
    let done = rebuild(Rebuild { force: true, ..options(data) }).await.unwrap();
    assert_eq!(fs::read(done.previous.unwrap()).unwrap(), before);
    let now = stored(data);
    assert_eq!(now.sandboxes.len(), 2);
    assert_eq!(now.sandboxes[0].signing_key, "as it was");
    assert_eq!(now.sandboxes[1].name, "other", "the name is taken");
}

#[tokio::test]
async fn a_damaged_store_is_kept_beside_the_new_one() {
    for damage in [&b""[..], b"not a store", &[0; 8192]] {
        let dir = data_dir();
        fs::write(dir.path().join(FILE), damage).unwrap();
        file(dir.path(), "volumes/v/x");
        let done = rebuild(options(dir.path())).await.unwrap();
        assert_eq!(fs::read(done.previous.unwrap()).unwrap(), damage);
        assert_eq!(stored(dir.path()).volumes.len(), 1);
    }
    let dir = data_dir();
    let held = DataDir::open(Some(dir.path().to_owned()), false).unwrap();
    assert!(matches!(rebuild(options(dir.path())).await, Err(RebuildError::DataDir(ServeError::InUse { .. }))));
    drop(held);
    let missing = dir.path().join("missing");
    assert!(matches!(rebuild(options(&missing)).await, Err(RebuildError::Missing(_))));
    assert!(!missing.exists());
}
