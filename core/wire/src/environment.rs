//! The environment of what a sandbox starts from now on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sandbox::null_is_default;

/// `POST {toolbox}/env`; answered with the variables as they are then.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateEnvRequest {
    /// Variables to set.
    #[serde(deserialize_with = "null_is_default")]
    pub set: BTreeMap<String, String>,
    /// Variables to remove before that.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
    /// Variables whose value begins so and that are not set by this are removed before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unset_value_prefix: Option<String>,
}

impl UpdateEnvRequest {
    /// Changes an environment.
    pub fn apply(&self, env: &mut BTreeMap<String, String>) {
        if let Some(prefix) = self.unset_value_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            env.retain(|name, value| self.set.contains_key(name) || !value.starts_with(prefix));
        }
        for name in &self.unset {
            env.remove(name);
        }
        env.extend(self.set.clone());
    }
}

/// Whether this is a name that shells know too: letters, digits and `_`, not starting with a digit.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// The most that Linux takes in one argument, or one variable with its name, in bytes.
pub const LONGEST_TEXT: usize = 128 << 10;

/// Why no program could be started with this variable, if it is so long.
pub fn too_long(name: &str, value: &str) -> Option<String> {
    // With the sign between them and the zero at the end.
    let length = name.len() + value.len() + 2;
    (length > LONGEST_TEXT).then(|| {
        format!(
            "the environment variable {name} is too long: with its name it has {length} bytes, and Linux starts nothing \
             with more than {LONGEST_TEXT} (128 KiB) in one. Write it to a file, and give the file's path"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_may_be_as_long_as_linux_takes_it() {
        assert_eq!(too_long("AB", &"x".repeat(LONGEST_TEXT - 4)), None);
        assert!(
            too_long("AB", &"x".repeat(LONGEST_TEXT - 3)).is_some_and(|why| why.contains("variable AB is too long"))
        );
    }

    #[test]
    fn what_is_set_wins_over_what_is_removed() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut env = map(&[("A", "1"), ("B", "x-1"), ("C", "x-2"), ("D", "4")]);
        let request = UpdateEnvRequest {
            set: map(&[("A", "2"), ("C", "x-3")]),
            unset: vec!["A".to_owned(), "D".to_owned()],
            unset_value_prefix: Some("x-".to_owned()),
        };
        request.apply(&mut env);
        assert_eq!(env, map(&[("A", "2"), ("C", "x-3")]));
    }
}
