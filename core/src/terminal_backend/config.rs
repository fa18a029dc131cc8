//! The configuration of a terminal backend.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::section::{Section, unknown};

const TERMINAL: &str = "terminal";
const BACKEND: &str = "daytona";
const KEYS: [&str; 12] = [
    "image",
    "snapshot",
    "cpu",
    "memory",
    "disk",
    "timeout",
    "keep_alive",
    "max_idle",
    "create_timeout",
    "task_id",
    "labels",
    "env",
];

/// An image that is made for terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TerminalImage {
    /// Its name.
    pub image: &'static str,
    /// The language whose tools are in it.
    pub language: &'static str,
}

/// Images that have the tools of a language.
pub const TERMINAL_IMAGES: [TerminalImage; 4] = [
    TerminalImage { image: "daytonaio/workspace-node", language: "node" },
    TerminalImage { image: "daytonaio/workspace-python", language: "python" },
    TerminalImage { image: "daytonaio/workspace-go", language: "go" },
    TerminalImage { image: "daytonaio/workspace-rust", language: "rust" },
];

/// How a terminal backend runs commands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalConfig {
    /// Image of the sandboxes; none with a snapshot.
    pub image: Option<String>,
    /// Snapshot in place of an image.
    pub snapshot: Option<String>,
    /// Cores; a snapshot has its own.
    pub cpu: Option<i64>,
    /// GiB; a snapshot has its own.
    pub memory: Option<i64>,
    /// GiB; a snapshot has its own.
    pub disk: Option<i64>,
    /// Seconds after which a command is killed; 0 is no limit.
    pub timeout: f64,
    /// Whether one sandbox is kept for all commands.
    pub keep_alive: bool,
    /// Seconds without a command after which a kept sandbox is destroyed.
    pub max_idle: f64,
    /// Seconds until a new sandbox must have started.
    pub create_timeout: f64,
    /// The task whose files stay from one command to the next, and from one process to the next.
    pub task_id: Option<String>,
    /// Labels of the sandboxes.
    pub labels: BTreeMap<String, String>,
    /// Environment of everything that runs in them.
    pub env: BTreeMap<String, String>,
}

impl TerminalConfig {
    /// Reads YAML.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no YAML; as [`TerminalConfig::read`].
    pub fn from_yaml(text: &str) -> Result<Self> {
        let value: Value = serde_saphyr::from_str(text)
            .map_err(|error| Error::invalid(format!("the configuration is no YAML: {error}")))?;
        Self::read(&value)
    }

    /// Reads `{"terminal": {"backend": "daytona", "daytona": {...}}}`. Beside `terminal` there may be anything.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown key, a value of another type, a size without a unit, and what excludes itself.
    pub fn read(value: &Value) -> Result<Self> {
        let empty = Value::Null;
        let terminal = match value {
            Value::Null => &empty,
            Value::Object(object) => match (object.get(TERMINAL), object.keys().next()) {
                (Some(terminal), _) => terminal,
                (None, None) => &empty,
                (None, Some(key)) => return Err(unknown("", key, &[TERMINAL])),
            },
            other => {
                let error = Error::invalid(format!("the configuration must have a key {TERMINAL}, not be {other}"));
                let is_path = other.is_string();
                return Err(if is_path { error.with_hint("Pass what is in the file, not its path") } else { error });
            }
        };
        let terminal = Section::read(TERMINAL, terminal, &["backend", BACKEND])?;
        if let Some(backend) = terminal.text("backend")?.filter(|backend| backend != BACKEND) {
            return Err(Error::invalid(format!("terminal.backend is {backend:?}, and this backend is {BACKEND:?}")));
        }
        let section = Section::read("terminal.daytona", terminal.get(BACKEND).unwrap_or(&empty), &KEYS)?;
        let (image, snapshot) = (section.text("image")?, section.text("snapshot")?);
        let (cpu, memory, disk) = (section.count("cpu")?, size(&section, "memory")?, size(&section, "disk")?);
        if snapshot.is_some() {
            let sized = [("image", image.is_some()), ("cpu", cpu.is_some()), ("memory", memory.is_some())];
            if let Some((key, _)) = sized.into_iter().chain([("disk", disk.is_some())]).find(|(_, given)| *given) {
                return Err(Error::invalid(format!("terminal.daytona.{key} and snapshot exclude each other"))
                    .with_hint("A snapshot has its own image and sizes"));
            }
        }
        let is_image = snapshot.is_none();
        let sized = |given: Option<i64>, default: i64| is_image.then(|| given.unwrap_or(default));
        let env = section.pairs("env")?.unwrap_or_default();
        crate::process::check_env(&env)?;
        Ok(Self {
            image: is_image.then(|| image.unwrap_or_else(|| "ubuntu:24.04".to_owned())),
            snapshot,
            cpu: sized(cpu, 4),
            memory: sized(memory, 8),
            disk: sized(disk, 20),
            timeout: section.seconds("timeout", 0.0)?.unwrap_or(3600.0),
            keep_alive: section.flag("keep_alive")?.unwrap_or(false),
            max_idle: section.seconds("max_idle", 1.0)?.unwrap_or(600.0),
            create_timeout: section.seconds("create_timeout", 1.0)?.unwrap_or(300.0),
            task_id: section.text("task_id")?,
            labels: section.pairs("labels")?.unwrap_or_default(),
            env,
        })
    }
}

/// A size with its unit, in whole GiB. `gb` and `gib` are both 1024 to the third, as the API counts.
fn size(section: &Section, key: &str) -> Result<Option<i64>> {
    let Some(value) = section.get(key) else { return Ok(None) };
    let refused = |why: &str| {
        Err(Error::invalid(format!("{} is {value}: {why}", section.path(key)))
            .with_hint("Write a number with mb, gb or tb, such as \"8gb\""))
    };
    let Some(text) = value.as_str() else { return refused("it has no unit") };
    let text = text.trim().to_ascii_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let Ok(number) = number.parse::<i64>() else { return refused("it is no whole number with a unit") };
    let mebibytes = match unit.trim_start() {
        "mb" | "mib" => Some(number),
        "gb" | "gib" => number.checked_mul(1 << 10),
        "tb" | "tib" => number.checked_mul(1 << 20),
        "" => return refused("it has no unit"),
        _ => return refused("its unit is not known"),
    };
    match mebibytes {
        Some(mebibytes) if mebibytes >= 1 << 10 && mebibytes % (1 << 10) == 0 => Ok(Some(mebibytes >> 10)),
        _ => refused("sandboxes are sized in whole gigabytes, 1gb or more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn daytona(section: &Value) -> Result<TerminalConfig> {
        TerminalConfig::read(&json!({ "terminal": { "backend": "daytona", "daytona": section } }))
    }

    #[test]
    fn nothing_is_the_defaults() {
        let config = TerminalConfig::from_yaml("terminal:\n  backend: daytona\n").unwrap();
        assert_eq!(config, TerminalConfig::read(&Value::Null).unwrap());
        assert_eq!(config.image.as_deref(), Some("ubuntu:24.04"));
        assert_eq!((config.cpu, config.memory, config.disk), (Some(4), Some(8), Some(20)));
        assert_eq!((config.timeout, config.keep_alive, config.max_idle), (3600.0, false, 600.0));
    }

    #[test]
    fn yaml_is_read_beside_what_others_have_there() {
        let text = "model: x\nterminal:\n  backend: daytona\n  daytona:\n    image: \"python:3.12\"\n    cpu: 2\n    \
                    memory: 4 GB\n    disk: 10gb\n    timeout: 90\n    keep_alive: true\n    max_idle: 30\n";
        let config = TerminalConfig::from_yaml(text).unwrap();
        assert_eq!((config.cpu, config.memory, config.disk), (Some(2), Some(4), Some(10)));
        assert_eq!((config.timeout, config.keep_alive, config.max_idle), (90.0, true, 30.0));
        for bad in ["terminal: [", "- a", "terminal: 5", "a: 1\na: 2"] {
            let error = TerminalConfig::from_yaml(bad).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let message = |value: Value| TerminalConfig::read(&value).unwrap_err().message();
        assert!(message(json!({ "terminl": {} })).contains("Did you mean terminal?"));
        assert!(message(json!({ "terminal": { "backend": "docker" } })).contains("docker"));
        assert!(message(json!({ "terminal": { "daytonna": {} } })).contains("Did you mean daytona?"));
        assert!(daytona(&json!({ "keepAlive": true, "maxIdle": 5 })).unwrap().keep_alive);
        assert!(daytona(&json!({ "memroy": "1gb" })).unwrap_err().message().contains("Did you mean memory?"));
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [("8gb", 8), (" 8 GB ", 8), ("8GiB", 8), ("4096mb", 4), ("1tb", 1024)] {
            assert_eq!(daytona(&json!({ "memory": text })).unwrap().memory, Some(size), "{text}");
        }
        let bad = [json!(8), json!("8"), json!("8g"), json!("8 gigs"), json!("1.5gb"), json!("512mb"), json!("-1gb")];
        for value in bad.into_iter().chain([json!("0gb"), json!("gb"), json!(""), json!(true)]) {
            let error = daytona(&json!({ "disk": value })).unwrap_err();
            assert!(error.message().contains("terminal.daytona.disk"), "{value}: {error}");
        }
        assert!(daytona(&json!({ "memory": 8 })).unwrap_err().message().contains("\"8gb\""));
    }

    #[test]
    fn a_snapshot_has_its_own_sizes() {
        let config = daytona(&json!({ "snapshot": "mine" })).unwrap();
        assert_eq!((config.image, config.cpu, config.memory, config.disk), (None, None, None, None));
        for key in ["image", "memory", "disk"] {
            assert!(daytona(&json!({ "snapshot": "mine", key: "8gb" })).is_err());
        }
        assert!(daytona(&json!({ "snapshot": "mine", "cpu": 1 })).is_err());
    }
}
