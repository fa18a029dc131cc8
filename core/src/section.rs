//! Sections of configurations that people write: known keys only, each of its type.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One object of a configuration. Keys are known in `snake_case` and may be written in camelCase too.
pub(crate) struct Section {
    name: String,
    values: BTreeMap<String, Value>,
}

impl Section {
    /// # Errors
    /// `InvalidArgument` for what is no object, and for a key that is not known, with the nearest one that is.
    pub(crate) fn read(name: &str, value: &Value, known: &[&str]) -> Result<Self> {
        let none = Map::new();
        let object = match value {
            Value::Null => &none,
            Value::Object(object) => object,
            other => return Err(Error::invalid(format!("{name} must have keys and values, not {}", kind(other)))),
        };
        let mut values = BTreeMap::new();
        for (key, value) in object {
            let plain = snake(key);
            if !known.contains(&plain.as_str()) {
                return Err(unknown(name, key, known));
            }
            if values.insert(plain.clone(), value.clone()).is_some() {
                return Err(Error::invalid(format!("{} is given twice, in two spellings", path(name, &plain))));
            }
        }
        values.retain(|_, value| !value.is_null());
        Ok(Self { name: name.to_owned(), values })
    }

    /// The full name of a key, for messages.
    pub(crate) fn path(&self, key: &str) -> String {
        path(&self.name, key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>> {
        let text = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        self.typed(key, "text that is not empty", text)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A whole number of at least 1.
    pub(crate) fn count(&self, key: &str) -> Result<Option<i64>> {
        self.typed(key, "a whole number of at least 1", |value| value.as_i64().filter(|count| *count >= 1))
    }

    /// Seconds, at least `least`.
    pub(crate) fn seconds(&self, key: &str, least: f64) -> Result<Option<f64>> {
        let wanted = format!("a number of seconds, {least} or more, without a unit");
        self.typed(key, &wanted, |value| value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= least))
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.typed(key, "a list of texts", |value| {
            value.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect()
        })
    }

    pub(crate) fn pairs(&self, key: &str) -> Result<Option<BTreeMap<String, String>>> {
        self.typed(key, "names with texts", |value| {
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            value.as_object()?.iter().map(pair).collect()
        })
    }

    fn typed<T>(&self, key: &str, wanted: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::invalid(format!("{} must be {wanted}, not {value}", self.path(key)))),
        }
    }
}

/// A refusal that names the nearest key there is.
pub(crate) fn unknown(name: &str, key: &str, known: &[&str]) -> Error {
    let within = if name.is_empty() { "the configuration" } else { name };
    Error::invalid(format!("{within} has no key {key:?}")).with_hint(suggestion(key, known))
}

/// What to say of a name that nobody knows: the nearest one that is known, else all of them.
#[must_use]
pub fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("Did you mean {near}?"),
        None => format!("It has: {}", known.join(", ")),
    }
}

/// The known name that is most like this one, whatever case and separators are, if any is.
#[must_use]
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = snake(name);
    let rank = |one: &&'a str| {
        let other = snake(one);
        let (short, long) = if plain.len() < other.len() { (&plain, &other) } else { (&other, &plain) };
        // `auto_stop` is a part of `auto_stop_interval`, and `sandbox_id` has an `id`.
        let is_part = !short.is_empty()
            && (long.strip_prefix(short.as_str()).is_some_and(|rest| rest.starts_with('_'))
                || long.strip_suffix(short.as_str()).is_some_and(|rest| rest.ends_with('_')));
        let far = distance(&plain, &other);
        let is_near = is_part || far <= long.len() / 2;
        is_near.then_some((if is_part { 1 } else { far }, far, *one))
    };
    known.iter().filter_map(rank).min().map(|(_, _, one)| one)
}

fn path(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `daytonaApiUrl`, `diskGB` and `keep-alive` as `daytona_api_url`, `disk_gb` and `keep_alive`.
fn snake(key: &str) -> String {
    let mut plain = String::with_capacity(key.len() + 4);
    let mut was_small = false;
    for letter in key.chars() {
        if letter.is_ascii_uppercase() && was_small {
            plain.push('_');
        }
        was_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        plain.push(if letter == '-' { '_' } else { letter.to_ascii_lowercase() });
    }
    plain
}

/// How many letters have to be changed, put in or taken out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_known_in_two_spellings() {
        let known = ["daytona_api_url", "disk_gb", "keep_alive"];
        let given = json!({ "daytonaApiUrl": "x", "diskGB": 2, "keep-alive": true });
        let section = Section::read("pool", &given, &known).unwrap();
        assert_eq!(section.text("daytona_api_url").unwrap().as_deref(), Some("x"));
        assert_eq!(section.count("disk_gb").unwrap(), Some(2));
        assert_eq!(section.flag("keep_alive").unwrap(), Some(true));
        assert!(Section::read("pool", &json!({ "disk_gb": 1, "diskGb": 1 }), &known).is_err());
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_one() {
        let message = |key: &str| unknown("terminal.daytona", key, &["image", "keep_alive", "max_idle"]).message();
        assert_eq!(message("keepalive"), "terminal.daytona has no key \"keepalive\". Did you mean keep_alive?");
        assert!(message("imgae").ends_with("Did you mean image?"));
        assert!(message("zzzzzzzzzz").ends_with("It has: image, keep_alive, max_idle"));
        assert_eq!(nearest("sandbox_id", &["id", "name"]), Some("id"));
        assert_eq!(nearest("autoStop", &["spot", "autoStopInterval", "autoPauseInterval"]), Some("autoStopInterval"));
        assert_eq!(nearest("network_block_all", &["networkAllowList", "networkBlockAll"]), Some("networkBlockAll"));
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }

    #[test]
    fn types_are_kept_to() {
        let given = json!({ "a": "4", "b": 1.5, "c": -1, "d": ["x", 1], "e": null });
        let section = Section::read("s", &given, &["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(section.count("a").unwrap_err().message(), "s.a must be a whole number of at least 1, not \"4\"");
        assert!(section.count("b").is_err());
        assert!(section.seconds("c", 0.0).is_err());
        assert_eq!(section.seconds("b", 1.0).unwrap(), Some(1.5));
        assert!(section.texts("d").is_err());
        assert_eq!(section.text("e").unwrap(), None);
    }
}
