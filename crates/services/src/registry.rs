//! A schema registry: Apicurio, which speaks Confluent's REST API.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::certs::Certs;
use crate::java::{ARCHIVE_WITHIN, Jvm, java};
use crate::ports::{Port, with_free_ports};
use crate::process::{Service, Slot};
use crate::{artifacts, http, run};

/// Where Confluent's REST API starts.
const API: &str = "/apis/ccompat/v7";
const START_WITHIN: Duration = Duration::from_secs(300);
const STOP_WITHIN: Duration = Duration::from_secs(30);
const HEAP_MB: u32 = 512;
const ARCHIVE: &str = "registry.jsa";

/// A running registry. It stores its schemas in a file, so all ids survive [`Registry::restart`], even
/// after a kill. Dropping it kills it and removes the file.
#[derive(Debug)]
pub struct Registry {
    ports: Ports,
    arguments: Vec<String>,
    dir: PathBuf,
    service: Slot,
}

#[derive(Debug)]
struct Ports {
    http: Port,
    management: Port,
    https: Option<Port>,
}

impl Registry {
    /// Starts an empty registry and waits until it answers.
    pub fn start() -> Result<Registry> {
        Self::start_with(None)
    }

    /// Starts an empty registry that also listens with TLS, with a cluster's server certificate.
    pub fn start_with_tls(certs: &Certs) -> Result<Registry> {
        Self::start_with(Some(certs))
    }

    fn start_with(certs: Option<&Certs>) -> Result<Registry> {
        let jar = artifacts::registry_jar()?;
        let ready = artifacts::registry_ready(&jar)?;
        with_free_ports(|| {
            let registry = Registry::new(certs, &jar, &ready)?;
            registry.spawn()?;
            Ok(registry)
        })
        .context("cannot start the registry")
    }

    fn new(certs: Option<&Certs>, jar: &Path, ready: &Path) -> Result<Registry> {
        let dir = run::new_dir("registry")?;
        fs::create_dir_all(dir.join("data"))?;
        let ports = Ports {
            http: Port::take()?,
            management: Port::take()?,
            https: certs.map(|_| Port::take()).transpose()?,
        };
        let mut arguments = Jvm::Quick.arguments(HEAP_MB, Some(&ready.join(ARCHIVE)));
        let mut set = |name: &str, value: &str| arguments.push(format!("-D{name}={value}"));
        set_common(&ports, &dir.join("data"), &mut set);
        if let (Some(certs), Some(https)) = (certs, &ports.https) {
            let server = certs.server();
            set("quarkus.http.ssl-port", &https.number().to_string());
            set(
                "quarkus.http.ssl.certificate.files",
                &server.certificate.to_string_lossy(),
            );
            set(
                "quarkus.http.ssl.certificate.key-files",
                &server.key.to_string_lossy(),
            );
            set("quarkus.http.insecure-requests", "enabled");
        }
        arguments.extend(["-jar".into(), jar.to_string_lossy().into_owned()]);
        Ok(Registry {
            ports,
            arguments,
            dir,
            service: Slot::new("registry".into()),
        })
    }

    fn spawn(&self) -> Result<()> {
        let mut command = java();
        command.args(&self.arguments).current_dir(&self.dir);
        self.service
            .spawn(&mut command, &self.dir.join("registry.log"))?;
        self.service
            .wait_until_ready(START_WITHIN, || is_ready(&self.ports))
    }

    /// The base URL for any client of Confluent's registry.
    pub fn url(&self) -> String {
        format!("http://{}{API}", self.ports.http.address())
    }

    /// The same over TLS; an error without [`start_with_tls`](Self::start_with_tls).
    pub fn tls_url(&self) -> Result<String> {
        let port = self
            .ports
            .https
            .as_ref()
            .context("this registry was started without TLS")?;
        Ok(format!("https://{}{API}", port.address()))
    }

    /// Sends one request below [`url`](Self::url), with or without a JSON body, and returns the
    /// answer's status and body.
    pub fn request(&self, method: &str, path: &str, json: Option<&str>) -> Result<(u16, String)> {
        let port = self.ports.http.number();
        http::request(port, method, &format!("{API}{path}"), json)
            .with_context(|| format!("the registry did not answer {method} {path}"))
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Result<u32> {
        self.service.pid()
    }

    /// Kills it (SIGKILL), as a crash would.
    pub fn kill(&self) -> Result<()> {
        self.service.kill()
    }

    /// Stops it (SIGTERM).
    pub fn stop(&self) -> Result<()> {
        self.service.stop(STOP_WITHIN)
    }

    /// Starts it again on the same ports with the same schemas and ids.
    pub fn restart(&self) -> Result<()> {
        if self.service.is_running() {
            self.service.stop(STOP_WITHIN)?;
        }
        self.spawn()
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.service.pause()
    }

    /// Resumes it after [`pause`](Self::pause).
    pub fn resume(&self) -> Result<()> {
        self.service.resume()
    }

    /// The directory of its log, `registry.log`.
    pub fn logs_dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.service.end();
        run::clean(&self.dir);
    }
}

fn set_common(ports: &Ports, data: &Path, set: &mut impl FnMut(&str, &str)) {
    set("quarkus.http.host", "127.0.0.1");
    set("quarkus.http.port", &ports.http.number().to_string());
    set("quarkus.management.host", "127.0.0.1");
    set(
        "quarkus.management.port",
        &ports.management.number().to_string(),
    );
    set("apicurio.storage.kind", "sql");
    set("apicurio.storage.sql.kind", "h2");
    let file = data.join("registry");
    set(
        "apicurio.datasource.url",
        &format!("jdbc:h2:file:{}", file.display()),
    );
}

fn is_ready(ports: &Ports) -> bool {
    let subjects = format!("{API}/subjects");
    http::request(ports.http.number(), "GET", &subjects, None)
        .is_ok_and(|(status, _)| status == 200)
}

/// Runs the registry once and keeps its class data archive for later starts.
pub(crate) fn prepare(jar: &Path, into: &Path) -> Result<()> {
    let dir = into.join("first");
    fs::create_dir_all(&dir)?;
    let ports = Ports {
        http: Port::take()?,
        management: Port::take()?,
        https: None,
    };
    let mut command = java();
    command
        .args(Jvm::Quick.arguments(HEAP_MB, None))
        .current_dir(&dir);
    command.arg(format!(
        "-XX:ArchiveClassesAtExit={}",
        into.join(ARCHIVE).display()
    ));
    let mut set = |name: &str, value: &str| {
        command.arg(format!("-D{name}={value}"));
    };
    set_common(&ports, &dir, &mut set);
    command.arg("-jar").arg(jar);
    let log = into.join("registry.log");
    let mut service = Service::spawn("the first registry", &mut command, &log)?;
    service.wait_until_ready(START_WITHIN, || is_ready(&ports))?;
    http::request(
        ports.http.number(),
        "POST",
        &format!("{API}/subjects/first/versions"),
        Some(r#"{"schema": "\"string\""}"#),
    )?;
    service.stop(ARCHIVE_WITHIN)?;
    Ok(fs::remove_dir_all(dir)?)
}
