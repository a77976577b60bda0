//! Core's settings by name: what `carbon_events._settings` makes keywords of.

use carbon_events::config::{self, SettingKind, Settings};
use carbon_events::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::Raise;

/// Whose settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Consumer,
}

/// What stands before the names of the registry's settings.
const REGISTRY: &str = "registry_";

/// The environment's settings, and above them the given ones: texts by name.
pub(crate) fn read(
    options: &Bound<'_, PyDict>,
    properties: &Bound<'_, PyDict>,
    role: Role,
) -> PyResult<Settings> {
    let py = options.py();
    let mut settings = Settings::from_env().or_raise(py)?;
    for (name, value) in options {
        let (name, value): (String, String) = (name.extract()?, value.extract()?);
        set(&mut settings, &name, &value, role).or_raise(py)?;
    }
    for (name, value) in properties {
        settings.connection = settings
            .connection
            .property(name.extract::<String>()?, value.extract::<String>()?);
    }
    Ok(settings)
}

fn set(settings: &mut Settings, name: &str, value: &str, role: Role) -> carbon_events::Result<()> {
    let known = match name.strip_prefix(REGISTRY) {
        Some(rest) => settings.registry.set_text(rest, value),
        None if name == "schema_registry_url" => settings.registry.set_text("urls", value),
        None => settings
            .connection
            .set_text(name, value)
            .or_else(|| match role {
                Role::Producer => settings.producer.set_text(name, value),
                Role::Consumer => settings.consumer.set_text(name, value),
            }),
    };
    known.unwrap_or_else(|| {
        let message = format!("there is no setting {name}");
        Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", name))
    })
}

/// Every setting: a dict each.
#[pyfunction]
fn settings(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for setting in config::settings() {
        let entry = PyDict::new(py);
        let name = match setting.group {
            "registry" if setting.name == "urls" => "schema_registry_url".to_owned(),
            "registry" => format!("{REGISTRY}{}", setting.name),
            _ => setting.name.to_owned(),
        };
        let (kind, choices) = match setting.kind {
            SettingKind::Boolean => ("bool", None),
            SettingKind::Integer | SettingKind::Milliseconds => ("int", None),
            SettingKind::Choice(choices) => ("choice", Some(choices)),
            SettingKind::List => ("list", None),
            SettingKind::Map => ("map", None),
            _ => ("str", None),
        };
        entry.set_item("group", setting.group)?;
        entry.set_item("name", name)?;
        entry.set_item("env", setting.env)?;
        entry.set_item("kind", kind)?;
        entry.set_item("choices", choices)?;
        entry.set_item("default", (setting.default)())?;
        entry.set_item("secret", setting.secret)?;
        entry.set_item("doc", setting.doc())?;
        list.append(entry)?;
    }
    Ok(list)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(settings, module)?)
}
