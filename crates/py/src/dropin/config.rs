//! The configuration of the low-level producer: a dict of librdkafka's properties, and the callbacks
//! that confluent-kafka takes among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use carbon_events::compat::config::{self as compat, PropertyValue};
use carbon_events::config::{OAuthToken, Settings, TokenProvider};
use carbon_events::producer::{ClientObserver, Partitioner, SharedProducer};
use carbon_events::{Error, ErrorKind};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyAnyMethods, PyBool, PyDict, PyFrozenSet};

use super::reports::error_fields;
use crate::dispatch::{self, Call};
use crate::errors::Raise;

/// A low-level producer's configuration.
pub(super) struct Config {
    settings: Settings,
    partitioner: Partitioner,
    observer: Option<Observer>,
    oauth_cb: Option<Py<PyAny>>,
    /// Called for every record, besides the record's own callback.
    pub(super) on_delivery: Option<Py<PyAny>>,
    /// Whether callbacks are called for records that failed only.
    pub(super) only_errors: bool,
}

impl Config {
    /// Reads a dict. Those of its names that its attribute `ours` has are the caller's defaults, not
    /// what it asked for.
    pub(super) fn read(config: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = config.py();
        let ours = match config.getattr("ours") {
            Ok(names) => names.cast_into::<PyFrozenSet>()?,
            Err(_) => PyFrozenSet::empty(py)?,
        };
        let mut read = Config {
            settings: compat::plain_settings(environment(py, &|_| false)?),
            partitioner: Partitioner::default(),
            observer: None,
            oauth_cb: None,
            on_delivery: None,
            only_errors: false,
        };
        let topic = config.get_item("default.topic.config")?;
        let topic = topic.map(|it| it.cast_into::<PyDict>()).transpose()?;
        for (name, value) in topic.iter().flatten().chain(config) {
            let name: String = name.extract().map_err(|_| {
                PyTypeError::new_err("the name of a configuration property must be a str")
            })?;
            if !value.is_none() && name != "default.topic.config" {
                let is_ours = ours.contains(&name)?;
                read.set(&name, &value, is_ours)?;
            }
        }
        compat::remove_unused_sasl(&mut read.settings.connection);
        Ok(read)
    }

    fn set(&mut self, name: &str, value: &Bound<'_, PyAny>, is_ours: bool) -> PyResult<()> {
        let py = value.py();
        match name {
            "error_cb" => {
                self.observer().error = Some(Arc::new(callable(name, value)?));
                return Ok(());
            }
            "stats_cb" => {
                self.observer().statistics = Some(Arc::new(callable(name, value)?));
                return Ok(());
            }
            "logger" => {
                self.observer().logger = Some(Arc::new(value.clone().unbind()));
                return Ok(());
            }
            "throttle_cb" => {
                callable(name, value)?;
                let warning = "throttle_cb is never called: brokers that throttle show in stats_cb";
                let logger = py
                    .import("logging")?
                    .call_method1("getLogger", ("event_producer",))?;
                logger.call_method1("warning", (warning,))?;
                return Ok(());
            }
            "oauth_cb" => {
                self.oauth_cb = Some(callable(name, value)?);
                return Ok(());
            }
            "on_delivery" => {
                self.on_delivery = Some(callable(name, value)?);
                return Ok(());
            }
            "delivery.report.only.error" => {
                self.only_errors = value.is_truthy()?;
                return Ok(());
            }
            _ => {}
        }
        let text = match value.cast::<PyBool>() {
            Ok(flag) => flag.is_true().to_string(),
            Err(_) => value.str()?.to_str()?.to_owned(),
        };
        if name == "partitioner" {
            self.partitioner = Partitioner::from_name(&text).ok_or_else(|| {
                let message = format!("{name}={text}: librdkafka has no such partitioner");
                invalid(py, name, message)
            })?;
        } else {
            compat::set_property(&mut self.settings.connection, name, &text, is_ours);
        }
        Ok(())
    }

    fn observer(&mut self) -> &mut Observer {
        self.observer.get_or_insert_default()
    }

    /// The producer.
    pub(super) fn producer(self) -> carbon_events::Result<SharedProducer> {
        let properties = &self.settings.connection.properties;
        let config = properties
            .get("sasl.oauthbearer.config")
            .unwrap_or_default();
        let tokens = self
            .oauth_cb
            .map(|callback| token_provider(callback, config));
        let shared = SharedProducer::new(self.settings, tokens)?;
        if self.partitioner != Partitioner::default() {
            shared.partitioner(self.partitioner)?;
        }
        if let Some(observer) = self.observer {
            shared.observer(observer)?;
        }
        Ok(shared)
    }
}

fn invalid(py: Python<'_>, setting: &str, message: String) -> PyErr {
    let error = Error::new(ErrorKind::InvalidConfig, message).with("setting", setting);
    crate::errors::raised(py, &error)
}

fn callable(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    if value.is_callable() {
        return Ok(value.clone().unbind());
    }
    let message = format!("{name} must be a callable");
    Err(PyTypeError::new_err(message))
}

/// The settings of `os.environ`, which a test may have replaced; `hidden` variables are not read.
fn environment(py: Python<'_>, hidden: &dyn Fn(&str) -> bool) -> PyResult<Settings> {
    let variables = py.import("os")?.getattr("environ")?;
    let lookup = |name: &str| {
        let value = variables.call_method1("get", (name,)).ok()?;
        let value: Option<String> = value.extract().ok()?;
        value.filter(|_| !hidden(name))
    };
    Settings::from_lookup(lookup).or_raise(py)
}

/// The properties that a producer is made with, as the environment and these arguments have it.
#[pyfunction]
#[pyo3(signature = (options, client_id))]
fn connection_properties<'py>(
    options: &Bound<'py, PyDict>,
    client_id: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let py = options.py();
    // A variable that an argument replaces may hold anything.
    let variable = |name: &str| {
        let mut settings = carbon_events::config::settings();
        settings
            .find(|it| it.env == Some(name))
            .map(|it| it.option().into_owned())
    };
    let given = |name: &str| variable(name).is_some_and(|it| options.contains(it).unwrap_or(false));
    let mut settings = environment(py, &given)?;
    for (name, value) in options {
        let (name, value): (String, String) = (name.extract()?, value.extract()?);
        settings
            .set_option("producer", &name, &value.into())
            .or_raise(py)?;
    }
    let properties = PyDict::new(py);
    for (name, value) in compat::default_properties(&settings.connection, client_id) {
        match value {
            PropertyValue::Text(text) => properties.set_item(name, text)?,
            PropertyValue::Number(number) => properties.set_item(name, number)?,
            PropertyValue::Flag(flag) => properties.set_item(name, flag)?,
        }
    }
    Ok(properties)
}

/// Whether the value of a property is not to be shown.
#[pyfunction]
fn holds_secret(property: &str) -> bool {
    carbon_events::config::holds_secret(property)
}

/// Tells the caller's functions what concerns the client.
#[derive(Default)]
struct Observer {
    error: Option<Arc<Py<PyAny>>>,
    statistics: Option<Arc<Py<PyAny>>>,
    logger: Option<Arc<Py<PyAny>>>,
}

impl ClientObserver for Observer {
    fn error(&self, error: &Error) {
        if let Some(callback) = &self.error {
            tell(callback, About::Error(error.clone()));
        }
    }

    fn statistics(&self, json: &str) {
        if let Some(callback) = &self.statistics {
            tell(callback, About::Statistics(json.to_owned()));
        }
    }

    fn log(&self, level: i32, facility: &str, text: &str) {
        if let Some(logger) = &self.logger {
            let line = About::Line(level, facility.to_owned(), text.to_owned());
            tell(logger, line);
        }
    }
}

/// What an observer tells.
enum About {
    Error(Error),
    Statistics(String),
    Line(i32, String, String),
}

struct News {
    function: Arc<Py<PyAny>>,
    about: About,
}

fn tell(function: &Arc<Py<PyAny>>, about: About) {
    let function = Arc::clone(function);
    dispatch::push(Box::new(News { function, about }));
}

impl Call for News {
    fn call(self: Box<Self>, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let function = self.function.clone_ref(py);
        let module = super::calls::module(py);
        let module = module.ok_or_else(|| PyValueError::new_err("event_producer is gone"))?;
        Ok(match self.about {
            About::Error(error) => {
                let argument = (function, error_fields(py, &error)?);
                let argument = argument.into_pyobject(py)?.into_any().unbind();
                (module.client_error.clone_ref(py), argument)
            }
            About::Statistics(json) => {
                let argument = json.into_pyobject(py)?.into_any().unbind();
                (function, argument)
            }
            About::Line(level, facility, text) => {
                let argument = (function, level, facility, text).into_pyobject(py)?;
                (module.log_line.clone_ref(py), argument.into_any().unbind())
            }
        })
    }
}

/// How long `oauth_cb` may take.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks `callback`, on the thread that calls Python's functions, for a token: `(token, expires)` or
/// `(token, expires, principal, extensions)`, with seconds since 1970.
fn token_provider(callback: Py<PyAny>, config: &str) -> TokenProvider {
    let (callback, config): (_, Arc<str>) = (Arc::new(callback), config.into());
    TokenProvider::new(move || {
        let (answer, answered) = mpsc::sync_channel(1);
        let (callback, config) = (Arc::clone(&callback), Arc::clone(&config));
        dispatch::push(Box::new(AskToken {
            callback,
            config,
            answer,
        }));
        answered.recv_timeout(TOKEN_TIMEOUT).unwrap_or_else(|_| {
            let message = "oauth_cb gave no token in time";
            Err(Error::new(ErrorKind::Timeout, message).with("setting", "oauth_cb"))
        })
    })
}

type Answer = mpsc::SyncSender<carbon_events::Result<OAuthToken>>;

struct AskToken {
    callback: Arc<Py<PyAny>>,
    /// The property `sasl.oauthbearer.config`.
    config: Arc<str>,
    answer: Answer,
}

impl Call for AskToken {
    fn call(self: Box<Self>, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let asked = Asked {
            callback: self.callback.clone_ref(py),
            answer: self.answer,
        };
        let argument = self.config.into_pyobject(py)?.into_any().unbind();
        Ok((Py::new(py, asked)?.into_any(), argument))
    }
}

/// A question for a token.
#[pyclass(frozen)]
struct Asked {
    callback: Py<PyAny>,
    answer: Answer,
}

#[pymethods]
impl Asked {
    fn __call__(&self, py: Python<'_>, config: &Bound<'_, PyAny>) {
        let token = self
            .callback
            .call1(py, (config,))
            .and_then(|given| token_of(given.bind(py)));
        // The exception's text may hold the token.
        let token = token.map_err(|error| {
            let class = error.get_type(py).qualname();
            let class = class.map_or_else(|_| String::new(), |name| name.to_string());
            Error::new(
                ErrorKind::Authentication,
                format!("oauth_cb raised {class}"),
            )
            .with("setting", "oauth_cb")
        });
        let _ = self.answer.try_send(token);
    }
}

fn token_of(given: &Bound<'_, PyAny>) -> PyResult<OAuthToken> {
    let token: String = given.get_item(0)?.extract()?;
    let expires: f64 = given.get_item(1)?.extract()?;
    let principal = match given.len()? {
        0..=2 => String::new(),
        _ => given.get_item(2)?.extract()?,
    };
    let extensions: BTreeMap<String, String> = match given.len()? {
        0..=3 => BTreeMap::new(),
        _ => given.get_item(3)?.extract()?,
    };
    Ok(OAuthToken {
        token: token.into(),
        principal,
        expires_at_ms: (expires * 1000.0) as i64,
        extensions: extensions.into_iter().collect(),
    })
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(connection_properties, module)?)?;
    module.add_function(wrap_pyfunction!(holds_secret, module)?)
}
