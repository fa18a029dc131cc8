//! `GET /sandbox`: filters, order, pages.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daytona_wire::sandbox::{ListSandboxesResponse, SandboxState};
use serde::{Deserialize, Serialize};

use super::extract::{Base, Query, boolean, whole};
use super::snapshot::one_of;
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::record::{CLASS, Desired, Record, View};
use crate::time::{self, Millis};

const DEFAULT_LIMIT: usize = 100;
const SORT_FIELDS: [&str; 6] = ["name", "cpu", "memoryGib", "diskGib", "lastActivityAt", "createdAt"];
const CLASSES: [&str; 4] = ["linux-vm", CLASS, "android", "windows"];

/// Which sandboxes are wanted, in which order, from where on.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter of its own")]
pub(super) struct Wanted {
    /// Ids and names are found by any part, not by their beginning.
    parts: bool,
    id: String,
    name: String,
    labels: BTreeMap<String, String>,
    include_errored_deleted: bool,
    include_warm: bool,
    states: Vec<SandboxState>,
    snapshots: Vec<String>,
    regions: Vec<String>,
    classes: Vec<String>,
    cpu: Range,
    memory: Range,
    disk: Range,
    public: Option<bool>,
    recoverable: Option<bool>,
    created: Window,
    last_event: Window,
    auto_destroy: Window,
    sort: Field,
    ascending: bool,
    pub(super) limit: usize,
    after: Option<Cursor>,
}

/// Inclusive bounds of an amount.
#[derive(Default)]
struct Range(Option<i64>, Option<i64>);

impl Range {
    fn has(&self, value: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
        let (min, max) = (self.0.map(|min| min as f64), self.1.map(|max| max as f64));
        min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max)
    }
}

/// Exclusive bounds of a time.
#[derive(Default)]
struct Window(Option<Millis>, Option<Millis>);

impl Window {
    fn has(&self, value: Option<Millis>) -> bool {
        let Self(after, before) = self;
        if after.is_none() && before.is_none() {
            return true;
        }
        value.is_some_and(|value| after.is_none_or(|after| value > after) && before.is_none_or(|before| value < before))
    }
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
enum Field {
    Name,
    Cpu,
    Memory,
    Disk,
    LastActivity,
    #[default]
    Created,
}

/// What a record is sorted by; the id settles a draw.
#[derive(Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Key {
    Text(String),
    Amount(f64),
    Time(Millis),
}

/// The last record of the page before, and the order it was in.
#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: Field,
    ascending: bool,
    key: Key,
    id: String,
}

impl Cursor {
    fn encode(&self) -> Option<String> {
        Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?))
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

impl Wanted {
    /// Of a list by the number of a page: ids and names are found by any part of them.
    pub(super) fn by_parts() -> Self {
        Self { parts: true, limit: DEFAULT_LIMIT, ..Self::default() }
    }

    fn from_query(query: &[(String, String)]) -> ApiResult<Self> {
        let mut wanted = Self { limit: DEFAULT_LIMIT, ..Self::default() };
        let mut cursor = None;
        for (name, value) in query {
            if !value.is_empty() {
                wanted.set(name, value, &mut cursor)?;
            }
        }
        if let Some(text) = cursor {
            let cursor = Cursor::decode(text)
                .filter(|cursor| cursor.sort == wanted.sort)
                .filter(|cursor| cursor.ascending == wanted.ascending);
            wanted.after =
                Some(cursor.ok_or_else(|| {
                    ApiError::invalid("cursor is not one that this list, in this order, has answered")
                })?);
        }
        Ok(wanted)
    }

    pub(super) fn set<'a>(&mut self, name: &str, value: &'a str, cursor: &mut Option<&'a str>) -> ApiResult<()> {
        let list = || value.split(',').map(str::trim).map(str::to_owned);
        let amount = || whole(name, value, 1).map(Some);
        let when = || {
            time::parse(value)
                .map(Some)
                .ok_or_else(|| ApiError::invalid(format!("{name} must be an RFC 3339 time, not {value:?}")))
        };
        match name.strip_suffix("[]").unwrap_or(name) {
            "cursor" => *cursor = Some(value),
            "limit" => {
                let limit = whole(name, value, 1)?;
                self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
                if self.limit > 200 {
                    return Err(ApiError::invalid(format!("limit must be at most 200, not {value}")));
                }
            }
            "id" => self.id = value.to_lowercase(),
            "name" => self.name = value.to_lowercase(),
            "labels" => {
                self.labels = serde_json::from_str(value)
                    .map_err(|error| ApiError::invalid(format!("labels must be a JSON object of strings: {error}")))?;
            }
            "includeErroredDeleted" => self.include_errored_deleted = boolean(name, value)?,
            "includeWarm" => self.include_warm = boolean(name, value)?,
            "states" => {
                for state in list() {
                    self.states.push(state_named(&state)?);
                }
            }
            "snapshots" => self.snapshots.push(value.to_owned()),
            "regionIds" => self.regions.push(value.to_owned()),
            "sandboxClasses" => {
                for class in list() {
                    one_of(name, &class, &CLASSES)?;
                    self.classes.push(class);
                }
            }
            "minCpu" => self.cpu.0 = amount()?,
            "maxCpu" => self.cpu.1 = amount()?,
            "minMemoryGiB" => self.memory.0 = amount()?,
            "maxMemoryGiB" => self.memory.1 = amount()?,
            "minDiskGiB" => self.disk.0 = amount()?,
            "maxDiskGiB" => self.disk.1 = amount()?,
            "isPublic" => self.public = Some(boolean(name, value)?),
            "isRecoverable" => self.recoverable = Some(boolean(name, value)?),
            "createdAtAfter" => self.created.0 = when()?,
            "createdAtBefore" => self.created.1 = when()?,
            "lastEventAfter" => self.last_event.0 = when()?,
            "lastEventBefore" => self.last_event.1 = when()?,
            "autoDestroyAtAfter" => self.auto_destroy.0 = when()?,
            "autoDestroyAtBefore" => self.auto_destroy.1 = when()?,
            "sort" => {
                one_of(name, value, &SORT_FIELDS)?;
                self.sort = match value {
                    "name" => Field::Name,
                    "cpu" => Field::Cpu,
                    "memoryGib" => Field::Memory,
                    "diskGib" => Field::Disk,
                    "lastActivityAt" => Field::LastActivity,
                    _ => Field::Created,
                };
            }
            "order" => {
                one_of(name, value, &["asc", "desc"])?;
                self.ascending = value == "asc";
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn has(&self, record: &Record, view: &View) -> bool {
        let one = |list: &[String], value: &str| list.is_empty() || list.iter().any(|v| v == value);
        let errored_deleted = record.state == SandboxState::Error && record.desired == Desired::Destroyed;
        let matches = |text: &str, part: &str| if self.parts { text.contains(part) } else { text.starts_with(part) };
        matches(&record.id, &self.id)
            && matches(&record.name.to_lowercase(), &self.name)
            && (self.include_errored_deleted || !errored_deleted)
            && (self.include_warm || record.warm_pool.is_none())
            && (self.states.is_empty() || self.states.contains(&record.state))
            && one(&self.snapshots, record.snapshot.as_deref().unwrap_or_default())
            && one(&self.regions, &record.target)
            && one(&self.classes, CLASS)
            && self.cpu.has(record.cpu)
            && self.memory.has(record.memory)
            && self.disk.has(record.disk)
            && self.public.is_none_or(|public| record.public == public)
            && self.recoverable.is_none_or(|recoverable| record.recoverable == recoverable)
            && self.created.has(Some(record.created_at))
            && self.last_event.has(Some(record.last_activity_at))
            && self.auto_destroy.has(record.destroy_at)
            && self.labels.iter().all(|(name, value)| view.label(record, name) == Some(value.as_str()))
    }

    fn key(&self, record: &Record) -> Key {
        match self.sort {
            Field::Name => Key::Text(record.name.clone()),
            Field::Cpu => Key::Amount(record.cpu),
            Field::Memory => Key::Amount(record.memory),
            Field::Disk => Key::Amount(record.disk),
            Field::LastActivity => Key::Time(record.last_activity_at),
            Field::Created => Key::Time(record.created_at),
        }
    }

    /// In the order that was asked for.
    fn compare(&self, one: (&Key, &str), other: (&Key, &str)) -> Ordering {
        let order = one.0.partial_cmp(other.0).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(other.1));
        if self.ascending { order } else { order.reverse() }
    }

    /// One page, and where the next one begins.
    fn page(&self, records: Vec<Record>, view: &View) -> (Vec<Record>, Option<String>) {
        let mut found: Vec<(Key, Record)> = records
            .into_iter()
            .filter(|record| self.has(record, view))
            .map(|record| (self.key(&record), record))
            .filter(|(key, record)| {
                self.after
                    .as_ref()
                    .is_none_or(|after| self.compare((key, &record.id), (&after.key, &after.id)) == Ordering::Greater)
            })
            .collect();
        found.sort_unstable_by(|one, other| self.compare((&one.0, &one.1.id), (&other.0, &other.1.id)));
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().filter(|_| more).and_then(|(key, record)| {
            let cursor = Cursor { sort: self.sort, ascending: self.ascending, key: key.clone(), id: record.id.clone() };
            cursor.encode()
        });
        (found.into_iter().map(|(_, record)| record).collect(), next)
    }
}

fn state_named(name: &str) -> ApiResult<SandboxState> {
    let state = serde_json::from_value(serde_json::Value::String(name.to_owned()));
    match state {
        Ok(SandboxState::UnknownDefaultOpenApi) | Err(_) => {
            Err(ApiError::invalid(format!("states: {name:?} is no state of a sandbox")))
        }
        Ok(state) => Ok(state),
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Base(base): Base,
    Query(query): Query,
) -> ApiResult<Json<ListSandboxesResponse>> {
    let wanted = Wanted::from_query(&query)?;
    let records = app.sandboxes.all().into_iter().map(|sandbox| sandbox.snapshot()).collect();
    let (records, next_cursor) = wanted.page(records, &app.view);
    let items = records.iter().map(|record| app.view.list_item(record, &base)).collect();
    Ok(Json(ListSandboxesResponse { items, next_cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use daytona_runtime::{Enforcement, Limits};

    fn view() -> View {
        let off = || Enforcement::NotEnforced { reason: String::new() };
        let limits = Limits { cpu: off(), memory: off(), pids: off(), disk: off(), freeze: off(), network: off() };
        View::new(&limits)
    }

    fn wanted(query: &str) -> ApiResult<Wanted> {
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Wanted::from_query(&query)
    }

    fn records() -> Vec<Record> {
        (0..5_i64)
            .map(|index| {
                let mut record = Record::sample(&format!("{index}"));
                record.created_at = 1_700_000_000_000 + index / 2;
                record.labels = BTreeMap::from([("even".to_owned(), (index % 2 == 0).to_string())]);
                record.public = index == 3;
                record.destroy_at = (index == 4).then_some(1_800_000_000_000);
                record
            })
            .collect()
    }

    fn ids(query: &str) -> Vec<String> {
        let (page, _) = wanted(query).unwrap().page(records(), &view());
        page.into_iter().map(|record| record.id).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        for order in ["order=asc", "order=desc", "sort=name&order=asc", "sort=cpu"] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let wanted = wanted(&format!("{order}&limit=2&cursor={cursor}")).unwrap();
                let (page, next) = wanted.page(records(), &view());
                seen.extend(page.into_iter().map(|record| record.id));
                let Some(next) = next else { break };
                cursor = next;
            }
            assert_eq!(seen, ids(order), "{order}");
            assert_eq!(seen.len(), 5);
        }
        assert_eq!(ids("order=asc"), ["0", "1", "2", "3", "4"]);
        assert_eq!(ids(""), ["4", "3", "2", "1", "0"]);
    }

    #[test]
    fn filters_select() {
        assert_eq!(ids("id=3"), ["3"]);
        assert_eq!(ids("name=NAME-2"), ["2"]);
        assert_eq!(ids("labels={\"even\":\"false\"}&order=asc"), ["1", "3"]);
        assert_eq!(ids("labels={\"daytona-native/isolation\":\"none\"}").len(), 5);
        assert_eq!(ids("isPublic=true"), ["3"]);
        assert_eq!(ids("states=stopped,error").len(), 0);
        assert_eq!(ids("states=stopped&states=started").len(), 5);
        assert_eq!(ids("snapshots=other").len(), 0);
        assert_eq!(ids("regionIds=local").len(), 5);
        assert_eq!(ids("sandboxClasses=windows").len(), 0);
        assert_eq!(ids("minCpu=2").len(), 0);
        assert_eq!(ids("maxCpu=1").len(), 5);
        assert_eq!(ids("minDiskGiB=3&maxDiskGiB=3&minMemoryGiB=1&maxMemoryGiB=1").len(), 5);
        assert_eq!(ids("isRecoverable=true").len(), 0);
        assert_eq!(ids("createdAtAfter=2023-11-14T22:13:20.001Z"), ["4"]);
        assert_eq!(ids("createdAtBefore=2023-11-14T22:13:20.001Z&order=asc"), ["0", "1"]);
        assert_eq!(ids("autoDestroyAtAfter=2024-01-01T00:00:00Z"), ["4"]);
        assert_eq!(ids("lastEventAfter=2024-01-01T00:00:00Z").len(), 0);
    }

    #[test]
    fn bad_values_are_refused() {
        for bad in [
            "limit=0",
            "limit=201",
            "limit=x",
            "labels=x",
            "labels=[1]",
            "states=flying",
            "isPublic=maybe",
            "minCpu=0",
            "sort=colour",
            "order=up",
            "createdAtAfter=noon",
            "cursor=AAAA",
            "sandboxClasses=toaster",
        ] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_belongs_to_its_order() {
        let (_, next) = wanted("limit=2").unwrap().page(records(), &view());
        assert!(wanted(&format!("order=asc&cursor={}", next.unwrap())).is_err());
    }
}
