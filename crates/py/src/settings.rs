//! Core's settings by name: what `carbon_events._settings` makes keywords of.

use carbon_events::config::Settings;
use pyo3::prelude::*;
use pyo3::types::PyDict;

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
