//! Values between the two languages.

use std::collections::BTreeMap;

use daytona_core::wire::files::{FileInfo, Match, ReplaceResult};
use daytona_core::wire::sandbox::{BuildInfo, Sandbox, SandboxState, SandboxVolume};
use daytona_core::{CreateParams, Error, ListQuery, Resources};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::raise;
use crate::image::image_source;

/// For calls that return nothing.
#[expect(clippy::unnecessary_wraps, reason = "one of the conversions that calls take")]
pub(crate) fn none(py: Python<'_>, (): ()) -> PyResult<Py<PyAny>> {
    Ok(py.None())
}

/// For values that convert themselves.
pub(crate) fn value<T>(py: Python<'_>, value: T) -> PyResult<Py<PyAny>>
where
    T: for<'py> IntoPyObject<'py>,
{
    value.into_py_any(py)
}

/// For values that Python reads from JSON.
pub(crate) fn json<T: serde::Serialize>(py: Python<'_>, value: T) -> PyResult<Py<PyAny>> {
    let text = serde_json::to_string(&value).map_err(|error| raise(py, &Error::caller(error.to_string())))?;
    text.into_py_any(py)
}

/// Reads the fields of a parameter object. That is one of the package's own classes: the typed layer has read what the
/// caller passed (`_given.py`), so one without a field is a mistake and never means that the field is not set.
pub(crate) struct Fields<'a, 'py>(pub(crate) &'a Bound<'py, PyAny>);

impl<'py> Fields<'_, 'py> {
    pub(crate) fn object(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = self.0.getattr(name).map_err(|_| self.refusal(&format!("there is no {name}")))?;
        Ok(Some(value).filter(|value| !value.is_none()))
    }

    /// One that only some of the classes have.
    pub(crate) fn perhaps(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.getattr_opt(name)?.filter(|value| !value.is_none()))
    }

    fn refusal(&self, why: &str) -> PyErr {
        let kind = self.0.get_type();
        let name = kind.name().map_or_else(|_| "the object".to_owned(), |name| name.to_string());
        raise(self.0.py(), &Error::invalid(format!("{name}: {why}")))
    }

    pub(crate) fn get<T>(&self, name: &str) -> PyResult<Option<T>>
    where
        T: for<'a> FromPyObject<'a, 'py>,
    {
        let Some(value) = self.object(name)? else { return Ok(None) };
        value.extract::<T>().map(Some).map_err(|error: <T as FromPyObject<'_, 'py>>::Error| {
            let py = self.0.py();
            let error: PyErr = error.into();
            self.refusal(&format!("{name}: {}", error.value(py)))
        })
    }
}

/// A string, or several.
fn one_or_many(fields: &Fields<'_, '_>, name: &str) -> PyResult<Option<Vec<String>>> {
    match fields.object(name)? {
        Some(value) if value.extract::<String>().is_ok() => Ok(Some(vec![value.extract()?])),
        Some(_) => fields.get(name),
        None => Ok(None),
    }
}

pub(crate) fn resources(object: &Bound<'_, PyAny>) -> PyResult<Resources> {
    let fields = Fields(object);
    Ok(Resources {
        cpu: fields.get("cpu")?,
        memory: fields.get("memory")?,
        disk: fields.get("disk")?,
        gpu: fields.get("gpu")?,
        gpu_type: one_or_many(&fields, "gpu_type")?,
    })
}

pub(crate) fn create_params(params: Option<&Bound<'_, PyAny>>) -> PyResult<CreateParams> {
    let Some(params) = params else { return Ok(CreateParams::default()) };
    let fields = Fields(params);
    let resources = match fields.perhaps("resources")? {
        None => None,
        Some(given) => Some(resources(&given)?),
    };
    let volumes = match fields.get::<Vec<Bound<'_, PyAny>>>("volumes")? {
        None => None,
        Some(volumes) => Some(volumes.iter().map(volume).collect::<PyResult<_>>()?),
    };
    Ok(CreateParams {
        name: fields.get("name")?,
        language: fields.get("language")?,
        os_user: fields.get("os_user")?,
        env_vars: fields.get("env_vars")?,
        labels: fields.get("labels")?,
        public: fields.get("public")?,
        auto_stop_interval: fields.get("auto_stop_interval")?,
        auto_pause_interval: fields.get("auto_pause_interval")?,
        auto_archive_interval: fields.get("auto_archive_interval")?,
        auto_delete_interval: fields.get("auto_delete_interval")?,
        ttl_minutes: fields.get("ttl_minutes")?,
        queue_timeout: fields.get("queue_timeout")?,
        volumes,
        secrets: fields.get("secrets")?,
        network_block_all: fields.get("network_block_all")?,
        kvm: fields.get("kvm")?,
        network_allow_list: fields.get("network_allow_list")?,
        domain_allow_list: fields.get("domain_allow_list")?,
        outbound_proxy_url: fields.get("outbound_proxy_url")?,
        otel_endpoint_override: fields.get("otel_endpoint_override")?,
        ephemeral: fields.get("ephemeral")?,
        spot: fields.get("spot")?,
        linked_sandbox: fields.get("linked_sandbox")?,
        target: fields.get("target")?,
        snapshot: fields.perhaps("snapshot")?.map(|name| name.extract()).transpose()?,
        image: match fields.perhaps("image")? {
            None => None,
            Some(image) => Some(image_source(&image)?),
        },
        resources,
    })
}

fn volume(object: &Bound<'_, PyAny>) -> PyResult<SandboxVolume> {
    let fields = Fields(object);
    Ok(SandboxVolume {
        volume_id: fields.get("volume_id")?.unwrap_or_default(),
        mount_path: fields.get("mount_path")?.unwrap_or_default(),
        subpath: fields.get("subpath")?,
    })
}

pub(crate) fn list_query(query: Option<&Bound<'_, PyAny>>) -> PyResult<ListQuery> {
    let Some(query) = query else { return Ok(ListQuery::default()) };
    let fields = Fields(query);
    Ok(ListQuery {
        limit: fields.get("limit")?,
        id: fields.get("id")?,
        name: fields.get("name")?,
        labels: fields.get("labels")?,
        states: one_or_many(&fields, "states")?,
        snapshots: one_or_many(&fields, "snapshots")?,
        targets: one_or_many(&fields, "targets")?,
        sandbox_classes: one_or_many(&fields, "sandbox_classes")?,
        min_cpu: fields.get("min_cpu")?,
        max_cpu: fields.get("max_cpu")?,
        min_memory_gib: fields.get("min_memory_gib")?,
        max_memory_gib: fields.get("max_memory_gib")?,
        min_disk_gib: fields.get("min_disk_gib")?,
        max_disk_gib: fields.get("max_disk_gib")?,
        is_public: fields.get("is_public")?,
        is_recoverable: fields.get("is_recoverable")?,
        created_at_after: time(&fields, "created_at_after")?,
        created_at_before: time(&fields, "created_at_before")?,
        last_activity_after: time(&fields, "last_activity_after")?,
        last_activity_before: time(&fields, "last_activity_before")?,
        auto_destroy_at_after: time(&fields, "auto_destroy_at_after")?,
        auto_destroy_at_before: time(&fields, "auto_destroy_at_before")?,
        sort: fields.get("sort")?,
        order: fields.get("order")?,
    })
}

/// A `datetime`, or RFC 3339 text. As everywhere in Python, one without a zone is in local time.
fn time(fields: &Fields<'_, '_>, name: &str) -> PyResult<Option<String>> {
    match fields.object(name)? {
        Some(value) if value.hasattr("astimezone")? => {
            value.call_method0("astimezone")?.call_method0("isoformat")?.extract().map(Some)
        }
        _ => fields.get(name),
    }
}

/// Whole numbers as `int`, as the API means them.
pub(crate) fn number(py: Python<'_>, value: f64) -> PyResult<Py<PyAny>> {
    #[expect(clippy::cast_possible_truncation, reason = "the value is whole and in range")]
    if value.fract() == 0.0 && value.abs() < 9e15 { (value as i64).into_py_any(py) } else { value.into_py_any(py) }
}

fn volumes(py: Python<'_>, volumes: Option<&Vec<SandboxVolume>>) -> PyResult<Py<PyAny>> {
    let volumes = volumes.map(|volumes| {
        volumes
            .iter()
            .map(|volume| (volume.volume_id.as_str(), volume.mount_path.as_str(), volume.subpath.as_deref()))
            .collect::<Vec<_>>()
    });
    volumes.into_py_any(py)
}

pub(crate) fn build_info(py: Python<'_>, info: Option<&BuildInfo>) -> PyResult<Py<PyAny>> {
    let Some(info) = info else { return Ok(py.None()) };
    let dict = PyDict::new(py);
    dict.set_item("dockerfile_content", info.dockerfile_content.as_deref())?;
    dict.set_item("context_hashes", info.context_hashes.as_deref())?;
    dict.set_item("created_at", &info.created_at)?;
    dict.set_item("updated_at", &info.updated_at)?;
    dict.set_item("snapshot_ref", &info.snapshot_ref)?;
    dict.into_py_any(py)
}

macro_rules! sandbox_fields {
    ($py:ident, $data:ident; $($name:ident => $value:expr,)*) => {
        /// The names that [`sandbox_field`] knows, in the API's order.
        pub(crate) const SANDBOX_FIELDS: &[&str] = &[$(stringify!($name)),*];

        /// One field of a sandbox; made when it is asked for.
        pub(crate) fn sandbox_field($py: Python<'_>, $data: &Sandbox, name: &str) -> Option<PyResult<Py<PyAny>>> {
            Some(match name {
                $(stringify!($name) => $value,)*
                _ => return None,
            })
        }
    };
}

sandbox_fields! { py, data;
    id => value(py, data.id.as_str()),
    organization_id => value(py, data.organization_id.as_str()),
    name => value(py, data.name.as_str()),
    snapshot => value(py, data.snapshot.as_deref()),
    user => value(py, data.user.as_str()),
    env => map(py, data.env.as_ref()),
    labels => map(py, Some(&data.labels)),
    public => value(py, data.public),
    network_block_all => value(py, data.network_block_all),
    kvm => value(py, data.kvm),
    network_allow_list => value(py, data.network_allow_list.as_deref()),
    domain_allow_list => value(py, data.domain_allow_list.as_deref()),
    outbound_proxy_url => value(py, data.outbound_proxy_url.as_deref()),
    otel_endpoint_override => value(py, data.otel_endpoint_override.as_deref()),
    target => value(py, data.target.as_str()),
    cpu => number(py, data.cpu),
    gpu => number(py, data.gpu),
    spot => value(py, data.spot.unwrap_or(false)),
    spot_evicted_at => value(py, data.spot_evicted_at.as_deref()),
    queue_timed_out_at => value(py, data.queue_timed_out_at.as_deref()),
    gpu_type => value(py, data.gpu_type.as_deref()),
    memory => number(py, data.memory),
    disk => number(py, data.disk),
    state => value(py, data.state.map(SandboxState::as_str)),
    desired_state => value(py, data.desired_state.as_deref()),
    error_reason => value(py, data.error_reason.as_deref()),
    recoverable => value(py, data.recoverable),
    warm_pool_id => value(py, data.warm_pool_id.as_deref()),
    backup_state => value(py, data.backup_state.as_deref()),
    backup_created_at => value(py, data.backup_created_at.as_deref()),
    auto_stop_interval => optional_number(py, data.auto_stop_interval),
    auto_pause_interval => optional_number(py, data.auto_pause_interval),
    auto_archive_interval => optional_number(py, data.auto_archive_interval),
    auto_delete_interval => optional_number(py, data.auto_delete_interval),
    auto_destroy_at => value(py, data.auto_destroy_at.as_deref()),
    queue_timeout => value(py, data.queue_timeout),
    volumes => volumes(py, data.volumes.as_ref()),
    build_info => build_info(py, data.build_info.as_ref()),
    created_at => value(py, data.created_at.as_deref()),
    updated_at => value(py, data.updated_at.as_deref()),
    last_activity_at => value(py, data.last_activity_at.as_deref()),
    sandbox_class => value(py, data.sandbox_class.as_deref()),
    daemon_version => value(py, data.daemon_version.as_deref()),
    runner_id => value(py, data.runner_id.as_deref()),
    linked_sandbox_id => value(py, data.linked_sandbox_id.as_deref()),
    toolbox_proxy_url => value(py, data.toolbox_proxy_url.as_str()),
}

fn optional_number(py: Python<'_>, value: Option<f64>) -> PyResult<Py<PyAny>> {
    value.map_or_else(|| Ok(py.None()), |value| number(py, value))
}

fn map(py: Python<'_>, map: Option<&BTreeMap<String, String>>) -> PyResult<Py<PyAny>> {
    map.into_py_any(py)
}

/// In the order of the fields of the Python class.
pub(crate) fn file_info(py: Python<'_>, info: &FileInfo) -> PyResult<Py<PyAny>> {
    let FileInfo { name, path, size, mode, mod_time, modified_at, is_dir, owner, group, permissions } = info;
    (name, path, size, mode, mod_time, modified_at, is_dir, owner, group, permissions).into_py_any(py)
}

/// In the order of the fields of the Python class.
pub(crate) fn matched(found: Match) -> (String, u64, String) {
    (found.file, found.line, found.content)
}

/// In the order of the fields of the Python class.
pub(crate) fn replaced(result: ReplaceResult) -> (Option<String>, Option<bool>, Option<String>) {
    (result.file, result.success, result.error)
}
