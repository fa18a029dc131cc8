//! Images on the command line.

use serde_json::json;

use crate::run::run;
use crate::support::Server;

#[tokio::test]
async fn images_are_built_listed_and_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&dir.path().join("data"), &[]).await;
    if server.ready["runtime"] != "ns" {
        eprintln!("skipped: the runtime {} makes no sandboxes of images", server.ready["runtime"]);
        return;
    }
    let empty = run(&server, &["images", "list"]).await.expect(0);
    assert!(empty.stdout.is_empty() && empty.stderr.contains("there are no images"), "{empty:?}");
    let folder = dir.path().join("project");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), vec![b'x'; 100_000]).unwrap();
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY file /folder/\nLABEL a=b\nCOPY file /other\n")
        .unwrap();
    let path = folder.to_str().unwrap();

    let built = run(&server, &["images", "build", path, "--name", "made"]).await.expect(0);
    assert!(built.stdout.contains("made built, "), "{built:?}");
    assert!(built.stderr.contains("Step 2/4 : COPY file /folder/\n"), "{built:?}");
    let again =
        run(&server, &["images", "build", &format!("{path}/Dockerfile"), "-t", "again", "--json"]).await.expect(0);
    assert_eq!((&again.json()["state"], again.stderr.as_str()), (&json!("active"), ""));
    run(&server, &["images", "build", path, "--name", "made"]).await.expect(6);
    let nowhere = run(&server, &["images", "build", &format!("{path}/none"), "--name", "n"]).await;
    assert!(nowhere.code != 0 && nowhere.stderr.contains("none"), "{nowhere:?}");
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\nONBUILD RUN true\n").unwrap();
    let failed = run(&server, &["images", "build", path, "--name", "bad"]).await.expect(1);
    assert!(failed.stderr.contains("ONBUILD is not supported (line 2)"), "{failed:?}");

    let images = run(&server, &["images", "list", "--json"]).await.expect(0).json();
    assert_eq!(images.as_array().unwrap().len(), 1, "{images}");
    assert_eq!((&images[0]["size"], images[0]["layers"].as_array().unwrap().len()), (&json!(200_000), 2));
    let table = run(&server, &["images", "ls"]).await.expect(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME ") && lines[0].contains("SIZE") && lines[0].contains("LAYERS"), "{table}");
    assert!(lines[1].contains("195.31 KiB") && lines[1].contains(" 2 ") && lines[1].contains("made"), "{table}");
    let snapshots = run(&server, &["snapshots", "list"]).await.expect(0).stdout;
    let made = snapshots.lines().find(|line| line.starts_with("made ")).unwrap();
    assert!(snapshots.contains("LAYERS") && made.contains("195.31 KiB"), "{snapshots}");
    let info = run(&server, &["snapshots", "info", "made"]).await.expect(0).stdout;
    assert!(info.lines().any(|line| line.starts_with("Layers") && line.ends_with(" 2")), "{info}");

    for name in ["made", "again", "bad"] {
        run(&server, &["snapshots", "delete", name]).await.expect(0);
    }
    let pruned = run(&server, &["images", "prune"]).await.expect(0).stdout;
    assert!(pruned.contains("1 image and 0 layers deleted"), "{pruned}");
    let pruned = run(&server, &["images", "prune", "--all", "--json"]).await.expect(0).json();
    assert_eq!(pruned, json!({"images": 0, "layers": 2, "bytes": 200_000}));
}
