//! Changes one member of a JSON text and leaves every other byte as it is.

use std::ops::Range;

use serde::Serialize as _;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Serializer, Value};

/// A member of an object, by its places in the text.
struct Member {
    key: String,
    value: Range<usize>,
}

/// An object in the text.
struct Object {
    /// Behind its `{`.
    inside: usize,
    members: Vec<Member>,
}

impl Object {
    fn get(&self, key: &str) -> Option<&Member> {
        // As readers have it: the last of several counts.
        self.members.iter().rfind(|member| member.key == key)
    }
}

/// The settings with this server among `servers`; one of that name keeps what it has beside what is given.
pub(super) fn with_server(text: &str, servers: &str, name: &str, entry: &Map<String, Value>) -> Result<String, String> {
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    };
    if text.trim().is_empty() {
        return Ok(format!(
            "{mark}{{\n  {}: {{\n    {}: {}\n  }}\n}}\n",
            quoted(servers),
            quoted(name),
            pretty(entry, "    ", "  ")
        ));
    }
    let all: Value = serde_json::from_str(text).map_err(|error| {
        let comments = text.contains("//") || text.contains("/*");
        let hint = if comments { "; it seems to have comments, which JSON has not" } else { "" };
        format!("it is not JSON ({error}){hint}")
    })?;
    let there = match all.get(servers) {
        None if all.is_object() => None,
        Some(Value::Object(there)) => Some(there),
        _ => return Err(format!("it is JSON of another form: {servers} is not an object in it")),
    };
    let root = object(text, text.len() - text.trim_start().len());
    let Some(there) = there else {
        let member = |indent: &str, step: &str| {
            let inner = format!("{indent}{step}");
            format!("{{\n{inner}{}: {}\n{indent}}}", quoted(name), pretty(entry, &inner, step))
        };
        return Ok(format!("{mark}{}", insert(text, &root, servers, member)));
    };
    let at = root.get(servers).ok_or("its members cannot be found")?;
    let object = object(text, at.value.start);
    let Some(old) = object.get(name) else {
        return Ok(format!("{mark}{}", insert(text, &object, name, |indent, step| pretty(entry, indent, step))));
    };
    let merged = match there.get(name) {
        Some(Value::Object(old)) => merged(old, entry),
        _ => entry.clone(),
    };
    if there.get(name) == Some(&Value::Object(merged.clone())) {
        return Ok(format!("{mark}{text}"));
    }
    let indent = indent_at(text, old.value.start);
    let new = pretty(&merged, indent, step(indent));
    Ok(format!("{mark}{}{new}{}", &text[..old.value.start], &text[old.value.end..]))
}

/// What is new over what was; variables too.
fn merged(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut all = old.clone();
    for (key, value) in new {
        match (all.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new.clone()),
            _ => {
                all.insert(key.clone(), value.clone());
            }
        }
    }
    all
}

/// A new member behind those that are there; `value` is told how deep it stands.
fn insert(text: &str, object: &Object, key: &str, value: impl Fn(&str, &str) -> String) -> String {
    if let (Some(first), Some(last)) = (object.members.first(), object.members.last()) {
        let indent = indent_at(text, first.value.start);
        let new = format!(",\n{indent}{}: {}", quoted(key), value(indent, step(indent)));
        return format!("{}{new}{}", &text[..last.value.end], &text[last.value.end..]);
    }
    let outer = indent_at(text, object.inside);
    let indent = format!("{outer}{}", step(outer));
    let new = format!("\n{indent}{}: {}\n{outer}", quoted(key), value(&indent, step(outer)));
    let rest = text[object.inside..].trim_start();
    format!("{}{new}{rest}", &text[..object.inside])
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn pretty(entry: &Map<String, Value>, indent: &str, step: &str) -> String {
    let mut text = Vec::new();
    let mut writer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(step.as_bytes()));
    entry.serialize(&mut writer).expect("a map with string keys");
    String::from_utf8_lossy(&text).replace('\n', &format!("\n{indent}"))
}

/// Blanks or tabs at the beginning of the line of this place.
fn indent_at(text: &str, place: usize) -> &str {
    let line = text[..place].rfind('\n').map_or(0, |end| end + 1);
    let rest = &text[line..];
    &rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()]
}

/// One level deeper than this.
fn step(indent: &str) -> &'static str {
    if indent.starts_with('\t') { "\t" } else { "  " }
}

/// The object that begins here. The text is known to be JSON.
fn object(text: &str, start: usize) -> Object {
    let bytes = text.as_bytes();
    let blank = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let inside = blank(start) + 1;
    let mut members = Vec::new();
    let mut at = blank(inside);
    while bytes.get(at) == Some(&b'"') {
        let end = value_end(bytes, at);
        let key = serde_json::from_str(&text[at..end]).unwrap_or_default();
        // Over the colon.
        let start = blank(blank(end) + 1);
        let end = value_end(bytes, start);
        members.push(Member { key, value: start..end });
        at = blank(end);
        if bytes.get(at) == Some(&b',') {
            at = blank(at + 1);
        }
    }
    Object { inside, members }
}

/// Behind the value that begins here.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edit(text: &str) -> Result<String, String> {
        let Value::Object(entry) = json!({ "command": "/bin/x", "args": ["mcp"] }) else { unreachable!() };
        with_server(text, "mcpServers", "daytona-mcp", &entry)
    }

    fn servers(text: &str) -> Value {
        serde_json::from_str::<Value>(text).unwrap()["mcpServers"].clone()
    }

    #[test]
    fn nothing_becomes_settings() {
        for text in ["", "\n", "{}", "{ }", "{\n}\n", "{\"mcpServers\": {}}"] {
            let after = edit(text).unwrap();
            assert_eq!(servers(&after)["daytona-mcp"]["command"], "/bin/x", "{text:?} -> {after}");
        }
    }

    #[test]
    fn what_is_there_stays_to_the_byte() {
        let before = "{\n  \"z\": [1,2,  {\"a\": \"},{\\\"\"}],\n  \"mcpServers\": {\n    \"other\": {\"command\":  \"o\"}\n  },\n  \
                      \"b\" : 1.50\n}\n";
        let after = edit(before).unwrap();
        assert_eq!(servers(&after)["other"]["command"], "o");
        assert_eq!(servers(&after)["daytona-mcp"]["args"][0], "mcp");
        let (begin, end) = before.split_at(before.find("  },\n  \"b\"").unwrap() - 1);
        assert!(after.starts_with(begin) && after.ends_with(end), "{after}");
        assert_eq!(edit(&after).unwrap(), after);
    }

    #[test]
    fn an_older_entry_keeps_what_is_not_ours() {
        let before = json!({ "mcpServers": { "daytona-mcp": {
            "command": "/old", "env": { "MINE": "1" }, "disabled": true,
        } } });
        let after = servers(&edit(&before.to_string()).unwrap());
        assert_eq!(
            after["daytona-mcp"],
            json!({
                "command": "/bin/x", "args": ["mcp"], "env": { "MINE": "1" }, "disabled": true,
            })
        );
    }

    #[test]
    fn tabs_stay_tabs() {
        let after = edit("{\n\t\"mcpServers\": {\n\t\t\"other\": {}\n\t}\n}\n").unwrap();
        assert!(after.contains("{},\n\t\t\"daytona-mcp\": {\n\t\t\t\""), "{after}");
        assert!(!after.contains("  "), "{after}");
    }

    #[test]
    fn settings_without_servers_get_them() {
        let after = edit("{\"theme\": \"dark\"}").unwrap();
        assert!(after.starts_with("{\"theme\": \"dark\","), "{after}");
        assert_eq!(servers(&after)["daytona-mcp"]["command"], "/bin/x");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let comments = edit("{ // mine\n \"mcpServers\": {} }").unwrap_err();
        assert!(comments.contains("comments"), "{comments}");
        assert!(edit("[]").unwrap_err().contains("another form"));
        assert!(edit("{\"mcpServers\": 1}").unwrap_err().contains("another form"));
        assert!(edit("{\"a\": ").unwrap_err().contains("not JSON"));
    }
}
