//! Core's settings by name: what `carbon_events._settings` makes keywords of.

use carbon_events::config::{self, SettingKind, Settings};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::Raise;

/// The client whose settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Consumer,
}

impl Role {
    fn group(self) -> &'static str {
        match self {
            Role::Producer => "producer",
            Role::Consumer => "consumer",
        }
    }
}

/// Reads the environment's settings and overrides them with the given ones.
pub(crate) fn read(
    options: &Bound<'_, PyDict>,
    properties: &Bound<'_, PyDict>,
    role: Role,
) -> PyResult<Settings> {
    let py = options.py();
    let mut settings = Settings::from_env().or_raise(py)?;
    for (name, value) in options {
        let (name, value): (String, String) = (name.extract()?, value.extract()?);
        settings
            .set_option(role.group(), &name, &value.into())
            .or_raise(py)?;
    }
    for (name, value) in properties {
        settings.connection = settings
            .connection
            .property(name.extract::<String>()?, value.extract::<String>()?);
    }
    Ok(settings)
}

/// Every setting: a dict each, for what is generated from them.
#[pyfunction]
fn settings(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for setting in config::settings() {
        let entry = PyDict::new(py);
        let (kind, choices) = match setting.kind {
            SettingKind::Boolean => ("bool", None),
            SettingKind::Integer | SettingKind::Milliseconds => ("int", None),
            SettingKind::Choice(choices) => ("choice", Some(choices)),
            SettingKind::List => ("list", None),
            SettingKind::Map => ("map", None),
            _ => ("str", None),
        };
        entry.set_item("group", setting.group)?;
        entry.set_item("name", setting.option())?;
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
