//! Values of the cases: names put in, contents made, results compared. Bytes are `{"$bytes": "hex"}` throughout.

use std::collections::HashMap;

use daytona_core::{Daytona, LspServer, Sandbox, SandboxProvider, TerminalBackend};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::processes::Terminal;

/// What a step saved.
#[derive(Clone)]
pub(crate) enum Saved {
    Value(Value),
    Sandbox(Sandbox),
    Client(Daytona),
    Terminal(Terminal),
    Lsp(LspServer),
    Backend(TerminalBackend),
    Provider(SandboxProvider),
}

pub(crate) type Names = HashMap<String, Saved>;

impl Saved {
    fn value(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Sandbox(sandbox) => serde_json::to_value(&*sandbox.data()).unwrap_or_default(),
            Self::Client(_) | Self::Terminal(_) | Self::Lsp(_) | Self::Backend(_) | Self::Provider(_) => Value::Null,
        }
    }
}

pub(crate) fn bytes(content: &[u8]) -> Value {
    use std::fmt::Write as _;
    let mut digits = String::with_capacity(content.len() * 2);
    for byte in content {
        let _ = write!(digits, "{byte:02x}");
    }
    json!({ "$bytes": digits })
}

/// The bytes of a value that [`bytes`] made.
pub(crate) fn to_bytes(value: &Value) -> Option<Vec<u8>> {
    let digits = value.get("$bytes")?.as_str()?;
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// The value that `{"$text": ...}` and the like stand for.
fn content(spec: &Map<String, Value>) -> Option<Value> {
    let (name, value) = spec.iter().next().filter(|_| spec.len() == 1)?;
    match name.as_str() {
        "$bytes" => Some(json!({ "$bytes": value })),
        "$text" => Some(bytes(value.as_str()?.as_bytes())),
        "$pattern" => {
            let pattern = (0..value.as_u64()?).map(|i| u8::try_from((i * 7 + (i >> 8) * 13) & 255).unwrap_or_default());
            Some(bytes(&pattern.collect::<Vec<u8>>()))
        }
        "$repeat" => Some(json!(text(&value[0])?.repeat(usize::try_from(value[1].as_u64()?).ok()?))),
        "$lines" => Some(json!(texts(value)?.join("\n"))),
        "$concat" => Some(json!(texts(value)?.concat())),
        _ => None,
    }
}

fn text(part: &Value) -> Option<String> {
    match part {
        Value::Object(spec) => content(spec)?.as_str().map(str::to_owned),
        other => other.as_str().map(str::to_owned),
    }
}

fn texts(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(text).collect()
}

/// A member by its Python name, in the wire's spelling where it has one.
pub(crate) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    if let (Value::Array(items), Ok(index)) = (value, name.parse::<usize>()) {
        return items.get(index);
    }
    value.get(name).or_else(|| value.get(camel(name)))
}

pub(crate) fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}

pub(crate) fn field(value: &Value, path: &str) -> Value {
    let mut at = value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let Some(next) = member(at, name) else { return Value::Null };
        at = next;
    }
    at.clone()
}

/// Puts values for `${name}` and, unless they are kept for comparison, for contents. A saved sandbox
/// as a whole stays the name it is.
pub(crate) fn fill(spec: &Value, names: &Names, keep: bool) -> Value {
    match spec {
        Value::String(text) => fill_text(text, names),
        Value::Array(items) => items.iter().map(|item| fill(item, names, keep)).collect(),
        Value::Object(members) => {
            let name = |name: &str| fill_text(name, names).as_str().unwrap_or_default().to_owned();
            let filled: Map<String, Value> =
                members.iter().map(|(key, one)| (name(key), fill(one, names, keep))).collect();
            let made = if keep { None } else { content(&filled) };
            made.unwrap_or(Value::Object(filled))
        }
        other => other.clone(),
    }
}

fn fill_text(text: &str, names: &Names) -> Value {
    let pattern = Regex::new(r"\$\{([a-z]\w*)((?:\.\w+)*)\}").expect("the pattern is right");
    if let Some(found) = pattern.captures(text).filter(|found| found[0] == *text && found[2].is_empty()) {
        return match names.get(&found[1]) {
            Some(Saved::Value(value)) => value.clone(),
            _ => json!(text),
        };
    }
    let filled = pattern.replace_all(text, |found: &regex::Captures<'_>| match names.get(&found[1]) {
        None => found[0].to_owned(),
        Some(saved) => match field(&saved.value(), &found[2]) {
            Value::String(text) => text,
            other => other.to_string(),
        },
    });
    json!(filled)
}

/// Why `got` is not what is wanted, or `None`.
pub(crate) fn mismatch(want: &Value, got: &Value, at: &str) -> Option<String> {
    let fail = || Some(format!("{at} is {:.400}, wanted {:.400}", got.to_string(), want.to_string()));
    let check = |holds: bool| if holds { None } else { fail() };
    match want {
        Value::Array(items) => match got {
            Value::Array(found) if found.len() == items.len() => {
                let mut pairs = items.iter().zip(found).enumerate();
                pairs.find_map(|(number, (want, got))| mismatch(want, got, &format!("{at}.{number}")))
            }
            _ => fail(),
        },
        Value::Object(spec) => {
            if let Some(literal) = content(spec) {
                return check(literal == *got);
            }
            if spec.contains_key("$min") || spec.contains_key("$max") {
                let bound = |name: &str, other: f64| spec.get(name).and_then(Value::as_f64).unwrap_or(other);
                let (low, high) = (bound("$min", f64::NEG_INFINITY), bound("$max", f64::INFINITY));
                return check(got.as_f64().is_some_and(|number| low <= number && number <= high));
            }
            match spec.iter().next() {
                Some((name, operand)) if name.starts_with('$') => operator(name, operand, got, at, &fail),
                _ => spec.iter().find_map(|(name, want)| {
                    mismatch(want, member(got, name).unwrap_or(&Value::Null), &format!("{at}.{name}"))
                }),
            }
        }
        Value::Number(number) => check(got.as_f64().is_some_and(|got| Some(got) == number.as_f64())),
        other => check(other == got),
    }
}

fn operator(name: &str, operand: &Value, got: &Value, at: &str, fail: &dyn Fn() -> Option<String>) -> Option<String> {
    let check = |holds: bool| if holds { None } else { fail() };
    match (name, operand) {
        ("$contains", Value::String(part)) => check(got.as_str().is_some_and(|text| text.contains(part.as_str()))),
        ("$regex", Value::String(pattern)) => {
            let pattern = Regex::new(pattern).expect("a case has a good pattern");
            check(got.as_str().is_some_and(|text| pattern.is_match(text)))
        }
        ("$length", length) => check(got.as_array().is_some_and(|items| Some(items.len() as u64) == length.as_u64())),
        ("$absent", _) => check(got.is_null()),
        ("$any", one) => {
            check(got.as_array().is_some_and(|items| items.iter().any(|item| mismatch(one, item, at).is_none())))
        }
        ("$not", operand) => check(mismatch(operand, got, at).is_some()),
        ("$all", Value::Array(all)) => all.iter().find_map(|one| mismatch(one, got, at)),
        ("$set", Value::Array(all)) => {
            let mut left: Vec<&Value> = got.as_array()?.iter().collect();
            for one in all {
                match left.iter().position(|item| mismatch(one, item, at).is_none()) {
                    Some(found) => drop(left.swap_remove(found)),
                    None => return fail(),
                }
            }
            check(left.is_empty())
        }
        _ => Some(format!("{at}: unknown operator {name}")),
    }
}
