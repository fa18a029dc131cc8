//! `GET /api/sandbox` over the wire; its filters are tested one by one beside their code.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn pages_and_filters() {
    let server = Server::new().await;
    let mut all = Vec::new();
    for index in 0..5 {
        let labels = json!({"parity": if index % 2 == 0 { "even" } else { "odd" }});
        all.push(server.create(json!({"name": format!("box-{index}"), "labels": labels})).await);
    }
    server.call("POST", "/api/sandbox/box-4/stop", Value::Null).await.expect(200);
    let get = async |query: &str| {
        let path = format!("/api/sandbox?{query}");
        server.call("GET", &path, Value::Null).await
    };
    let names = async |query: &str| -> Vec<String> {
        let body = get(query).await.expect(200);
        let items = body["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&format!("limit=2&sort=name&order=asc&cursor={cursor}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        next.clone_into(&mut cursor);
    }
    assert_eq!(seen, all);

    let odd = "labels=%7B%22parity%22%3A%22odd%22%7D&sort=name&order=desc";
    assert_eq!(names(odd).await, ["box-3", "box-1"]);
    assert_eq!(names("states=stopped").await, ["box-4"]);
    assert_eq!(names("states=stopped&states=started").await.len(), 5);
    assert_eq!(names("name=BOX-2").await, ["box-2"]);
    assert_eq!(names(&format!("id={}", &all[3][..13])).await, ["box-3"]);
    assert_eq!(names("snapshots=host&regionIds=local").await.len(), 5);
    assert_eq!(names("isPublic=true").await.len(), 0);
    assert_eq!(names("createdAtBefore=2020-01-01T00:00:00Z").await.len(), 0);

    let item = get("limit=1").await.expect(200)["items"][0].clone();
    assert!(item.get("env").is_none() && item["toolboxProxyUrl"].is_string(), "{item}");
    for bad in ["limit=0", "limit=201", "states=flying", "labels=x", "cursor=zzz", "sort=x", "minCpu=-1"] {
        get(bad).await.error(400, "VALIDATION_FAILED");
    }
}
