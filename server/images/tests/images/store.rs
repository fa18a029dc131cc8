//! What a store keeps, and what it lets go.

use std::time::Duration;

use crate::common::{Bench, Tar, idle, store};
use daytona_images::{Error, GcOptions, Store};

#[tokio::test]
async fn collection_leaves_what_is_used_and_takes_the_rest() {
    let bench = Bench::new();
    let now = GcOptions { cache_age: Duration::ZERO };
    let text = |n: u8| format!("FROM scratch\nCOPY f /f\nRUN {n}\n");
    let tar = || Some(Tar::new().file("f", b"shared"));
    let kept = bench.build(&text(1), tar(), &idle()).await.unwrap();
    let named = bench.build(&text(2), tar(), &idle()).await.unwrap();
    let held = bench.build(&text(3), tar(), &idle()).await.unwrap();
    let gone = bench.build(&text(4), tar(), &idle()).await.unwrap();
    bench.store.tag("name", &named).unwrap();
    // The images themselves go.
    let [kept, named, gone] = [kept, named, gone].map(|image| image.digest);
    let freed = bench.store.gc(&[&kept], &now).unwrap();
    assert_eq!((freed.images, freed.layers), (1, 1));
    assert!(bench.store.open_image(&gone).is_none());
    assert!(held.layers.iter().all(|layer| layer.path.is_dir()));
    drop(held);
    let freed = bench.store.gc(&[&kept], &now).unwrap();
    assert_eq!((freed.images, freed.layers), (1, 1));
    assert_eq!(bench.store.image("name").unwrap().digest, named);
    assert!(bench.store.untag("name").unwrap());
    let freed = bench.store.gc::<&str>(&[], &now).unwrap();
    assert_eq!((freed.images, freed.layers, freed.bytes), (2, 3, 6));
    assert_eq!(std::fs::read_dir(bench.store.layers_dir()).unwrap().count(), 0);
    // A step whose layer went is run again.
    bench.build(&text(1), tar(), &idle()).await.unwrap();
}

#[tokio::test]
async fn layers_of_steps_stay_for_the_next_build() {
    let bench = Bench::new();
    let image = bench.build("FROM scratch\nRUN x\n", None, &idle()).await.unwrap();
    let layer = image.layers[0].diff_id.clone();
    drop(image);
    assert_eq!(bench.store.gc::<&str>(&[], &GcOptions::default()).unwrap().images, 1);
    let again = bench.build("FROM scratch\nRUN x\n", None, &idle()).await.unwrap();
    assert_eq!(again.layers[0].diff_id, layer);
}

#[tokio::test]
async fn a_store_survives_what_a_crash_leaves_and_has_one_owner() {
    let bench = Bench::new();
    let image = bench.build("FROM scratch\nCOPY f /f\n", Some(Tar::new().file("f", b"1")), &idle()).await.unwrap();
    let dir = bench.dir.path().join("store");
    assert!(matches!(Store::open(&dir, crate::common::options()), Err(Error::Busy(_))));
    let (digest, path) = (image.digest.clone(), image.layers[0].path.clone());
    let Bench { dir: _kept, store: opened, .. } = bench;
    drop((image, opened));
    std::fs::create_dir_all(dir.join("layers/00000000000000000000000000000000/sub")).unwrap();
    std::fs::create_dir_all(dir.join("tmp/half")).unwrap();
    std::fs::write(dir.join("images/broken.json"), "{").unwrap();
    let again = store(&dir);
    assert!(again.open_image(&digest).is_some());
    assert_eq!(std::fs::read_dir(dir.join("layers")).unwrap().count(), 2);
    assert_eq!(std::fs::read_dir(dir.join("images")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(dir.join("tmp")).unwrap().count(), 0);
    drop(again);
    // Without its layer an image is none.
    std::fs::remove_dir_all(path).unwrap();
    assert!(store(&dir).open_image(&digest).is_none());
}

#[tokio::test]
async fn steps_before_one_that_failed_survive_a_restart() {
    let bench = Bench::new();
    let text = |last: &str| format!("FROM scratch\nRUN good\nRUN {last}\n");
    let bad = crate::common::Fake(|step: &daytona_images::RunStep<'_>| i32::from(step.argv[2] == "bad"));
    bench.build(&text("bad"), None, &bad).await.unwrap_err();
    let Bench { dir, store: opened, .. } = bench;
    drop(opened);
    // Steps are flushed in the background, by whoever then lets go of the store.
    let lock = std::fs::File::open(dir.path().join("store/lock")).unwrap();
    let free = move || rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    tokio::task::spawn_blocking(free).await.unwrap();
    let again = Bench { store: store(&dir.path().join("store")), dir, ..Bench::new() };
    again.build(&text("better"), None, &idle()).await.unwrap();
    assert_eq!(again.log.text().matches(" ---> Using cache").count(), 1, "{}", again.log.text());
}
