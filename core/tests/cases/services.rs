//! The calls of the client's services, and of what a sandbox holds and uses.

use daytona_core::{Daytona, Result, Sandbox};
use serde_json::{Map, Value, json};

use crate::calls::{Outcome, arg};
use crate::values::camel;

/// Argument names of the cases that the core spells otherwise.
const IDS: [&str; 4] = ["secret_id", "warm_pool_id", "organization_id", "region_id"];

pub(crate) async fn on_service(name: &str, client: &Daytona, args: &Value) -> Result<Outcome> {
    let mut given = Map::new();
    for (argument, value) in args.as_object().into_iter().flatten() {
        match argument.as_str() {
            "volume" => given.insert("id".to_owned(), value["id"].clone()),
            "region_id" if name == "api.set_default_region" => given.insert("regionId".to_owned(), value.clone()),
            id if IDS.contains(&id) => given.insert("id".to_owned(), value.clone()),
            // What a request sends is the caller's own.
            "body" => given.insert("body".to_owned(), value.clone()),
            "query" if name == "api.request" => {
                let pairs = value.as_object().into_iter().flatten();
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                given.insert("query".to_owned(), pairs.map(|(name, value)| json!([name, text(value)])).collect())
            }
            _ => given.insert(camel(argument), value.clone()),
        };
    }
    let given = match name {
        "secret.list" => json!({ "query": given }),
        "volume.get" => json!({ "name": given["name"], "create": given.get("create").is_some_and(|on| on == true) }),
        "secret.create" | "warm_pool.create" | "api.create_api_key" => json!({ "params": given }),
        "secret.update" => {
            let id = given.remove("id");
            json!({ "id": id, "params": given })
        }
        _ => Value::Object(given),
    };
    client.service(name, &given, None).await?.keep().map(Outcome::from)
}

/// The methods of a sandbox that belong to these services; `None` for another one.
pub(crate) async fn on_sandbox(method: &str, sandbox: &Sandbox, args: &Value) -> Option<Result<Outcome>> {
    Some(match method {
        "update_env" => {
            let unset: Option<Vec<String>> = arg(args, "unset");
            sandbox.update_env(arg(args, "env"), unset.unwrap_or_default(), None).await.map(Outcome::from)
        }
        "update_secrets" => sandbox.update_secrets(arg(args, "secrets"), None).await.map(Outcome::from),
        "get_metrics_latest" => sandbox.metrics_latest(None).await.map(Outcome::from),
        "get_metrics" => {
            let (start, end): (Option<String>, Option<String>) = (arg(args, "start"), arg(args, "end"));
            sandbox.metrics(start.as_deref(), end.as_deref(), None).await.map(Outcome::from)
        }
        _ => return None,
    })
}

/// The volumes of a new sandbox.
pub(crate) fn volumes(given: &Value) -> Option<Vec<daytona_core::wire::sandbox::SandboxVolume>> {
    let volumes: Option<Vec<Map<String, Value>>> = arg(given, "volumes");
    let one = |volume: Map<String, Value>| {
        let volume: Value = volume.into_iter().map(|(name, value)| (camel(&name), value)).collect();
        serde_json::from_value(volume).expect("a volume")
    };
    volumes.map(|volumes| volumes.into_iter().map(one).collect())
}
