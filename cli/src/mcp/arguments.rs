//! What tools take: nothing that their schemas do not name, so that nothing is ever left out in silence.

use rmcp::model::JsonObject;
use serde_json::Value;

/// Refuses what a tool does not take, by the schema that it shows to clients.
pub(super) fn check(tool: &str, schema: &JsonObject, given: &JsonObject) -> Result<(), String> {
    let none = JsonObject::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    if let Some(name) = given.keys().find(|name| !known.contains_key(*name)) {
        return Err(unknown(tool, name, &known.keys().map(String::as_str).collect::<Vec<_>>()));
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let required: Vec<&str> = required.collect();
    for name in &required {
        if given.get(*name).is_none_or(Value::is_null) {
            return Err(format!("{tool} needs {name}{}", described(known.get(*name))));
        }
    }
    for (name, value) in given {
        if let Some(wanted) = known.get(name).and_then(|schema| wanted(schema, value)) {
            return Err(format!("{name} must be {wanted}, not {value}"));
        }
        // An empty text names nothing, and least of all the sandbox that was made last.
        if value.as_str() == Some("") && (name == "id" || (required.contains(&name.as_str()) && name != "content")) {
            return Err(format!("{name} is empty{}", described(known.get(name))));
        }
    }
    Ok(())
}

fn unknown(tool: &str, name: &str, known: &[&str]) -> String {
    let near = daytona_core::nearest(name, known).map(|near| format!(" Did you mean {near}?"));
    format!("{tool} has no argument {name:?}.{} It has: {}", near.unwrap_or_default(), known.join(", "))
}

fn described(schema: Option<&Value>) -> String {
    let text = schema.and_then(|schema| schema.get("description")).and_then(Value::as_str);
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

/// What a value is to be, if it is not. A schema that says no type is left to its parser.
fn wanted(schema: &Value, value: &Value) -> Option<String> {
    let types: Vec<&str> = match schema.get("type")? {
        Value::String(one) => vec![one],
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let fits = types.iter().any(|kind| match *kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    });
    if !fits {
        let name = |kind: &str| match kind {
            "boolean" => "true or false".to_owned(),
            "integer" | "array" | "object" => format!("an {kind}"),
            other => format!("a {other}"),
        };
        return Some(types.into_iter().filter(|kind| *kind != "null").map(name).collect::<Vec<_>>().join(" or "));
    }
    let inner = schema.get("additionalProperties")?;
    let within =
        |value: &Value| wanted(inner, value).map(|wanted| format!("an object of which each value is {wanted}"));
    value.as_object()?.values().find_map(within)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::tools::Tools;

    /// A value of the type that a schema wants.
    fn sample(schema: &Value) -> Value {
        let first = match schema.get("type") {
            Some(Value::Array(types)) => types[0].as_str(),
            Some(Value::String(one)) => Some(one.as_str()),
            _ => None,
        };
        match first {
            Some("boolean") => json!(true),
            Some("integer") => json!(3),
            Some("number") => json!(1.5),
            Some("object") => json!({ "A": "b" }),
            _ => json!("text"),
        }
    }

    #[test]
    fn every_tool_refuses_what_it_does_not_take() {
        let tools = Tools::tool_router().list_all();
        assert_eq!(tools.len(), 12);
        for tool in tools {
            let (name, schema) = (tool.name.as_ref(), &*tool.input_schema);
            assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "{name}");
            let known = schema["properties"].as_object().unwrap();
            let good: JsonObject = known.iter().map(|(name, schema)| (name.clone(), sample(schema))).collect();
            assert_eq!(check(name, schema, &good), Ok(()));
            let with = |key: &str, value: Value| {
                let mut given = good.clone();
                given.insert(key.to_owned(), value);
                check(name, schema, &given).unwrap_err()
            };
            for unknown in ["sandbox_id", "workdir", "timeout_ms", "zzz"] {
                let message = with(unknown, json!("x"));
                assert!(message.starts_with(&format!("{name} has no argument \"{unknown}\".")), "{message}");
                let all: Vec<_> = known.keys().map(String::as_str).collect();
                assert!(message.ends_with(&all.join(", ")), "{message}");
            }
            for (key, schema) in known.iter().filter(|(_, schema)| schema.get("type").is_some()) {
                for wrong in [json!("text"), json!(1.5), json!(3), json!(["x"]), json!({ "x": 1 }), json!(true)] {
                    if wanted(schema, &wrong).is_some() {
                        assert!(with(key, wrong).starts_with(&format!("{key} must be ")));
                    }
                }
                assert!(with(key, json!([])).starts_with(&format!("{key} must be ")), "{name} {key}");
            }
            for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                let required = required.as_str().unwrap();
                let mut given = good.clone();
                given.remove(required);
                assert!(check(name, schema, &given).unwrap_err().starts_with(&format!("{name} needs {required}")));
                assert!(with(required, json!(null)).starts_with(&format!("{name} needs {required}")));
            }
            if known.contains_key("id") {
                assert!(with("id", json!("")).starts_with("id is empty"), "{name}");
            }
        }
    }

    #[test]
    fn the_nearest_name_is_told() {
        let schema = |name: &str| {
            let tools = Tools::tool_router();
            tools.get(name).unwrap().input_schema.clone()
        };
        let refused = |name: &str, given: Value| check(name, &schema(name), given.as_object().unwrap()).unwrap_err();
        assert!(refused("destroy_sandbox", json!({ "sandbox_id": "keep-a" })).contains("Did you mean id?"));
        assert!(refused("destroy_sandbox", json!({})).starts_with("destroy_sandbox needs id: "));
        let refused = |key: &str| refused("execute_command", json!({ "command": "true", key: "x" }));
        assert!(refused("timeout_ms").contains("Did you mean timeout?"));
        assert!(refused("workdir").contains("cwd"));
    }
}
