//! The background process behind `up`, `down` and `status`.
//!
//! Files of `.services/`: `socket` (answers `status` with the variables, or nothing while the services
//! start, and `down` with an end of file once they are stopped), `env` (the variables, to be sourced),
//! `keeper.log`, and `run/` with the services' data and logs.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, exit};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};
use carbon_events_services::run::RUN_DIR_VARIABLE;
use carbon_events_services::{Jvm, KEY_PASSWORD, Kafka, READER_USER, Registry, WRITER_USER};
use carbon_events_services::{versions, wait_until};

use crate::{Wanted, state_dir};

/// A first start downloads and prepares everything.
const UP_WITHIN: Duration = Duration::from_secs(900);
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// Starts the keeper, waits until its services are ready and prints what to export.
pub(crate) fn up(root: &Path, wanted: &Wanted) -> Result<ExitCode> {
    let dir = state_dir(root);
    if let Ok(report) = ask(&dir, "status") {
        let state = if report.is_empty() { "starting" } else { "up" };
        eprintln!("the services are already {state}; stop them with `cargo xtask services down`");
        print!("{report}");
        return Ok(ExitCode::FAILURE);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).context("cannot remove the files of an earlier keeper")?;
    }
    fs::create_dir_all(&dir)?;
    let registry = if wanted.no_registry {
        ""
    } else {
        " and a schema registry"
    };
    let nodes = if wanted.brokers == 1 { "node" } else { "nodes" };
    eprintln!(
        "starting Kafka {} ({} {nodes}){registry} …",
        versions::KAFKA,
        wanted.brokers
    );

    // Bound here, so that from now on clients wait for the keeper's answer.
    let listener = in_dir(&dir, || UnixListener::bind("socket"))?;
    let log_path = dir.join("keeper.log");
    let log = File::create(&log_path)?;
    let mut keeper = Command::new(env::current_exe()?)
        .arg("keep")
        .args(wanted.arguments())
        .env(RUN_DIR_VARIABLE, dir.join("run"))
        .current_dir(&dir)
        .stdin(OwnedFd::from(listener))
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C here must not reach it.
        .process_group(0)
        .spawn()
        .context("cannot start the keeper")?;

    let mut shown = 0;
    let mut ended = None;
    let mut report = String::new();
    wait_until(UP_WITHIN, || {
        // The first start takes minutes; its log shows what it does.
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        eprint!("{}", text.get(shown..).unwrap_or_default());
        shown = text.len();
        ended = keeper.try_wait().ok().flatten();
        report = ask(&dir, "status").unwrap_or_default();
        ended.is_some() || !report.is_empty()
    });
    if let Some(status) = ended {
        ensure!(!status.success(), "stopped while starting");
        bail!("the keeper ended with {status}; see {}", log_path.display());
    }
    ensure!(
        !report.is_empty(),
        "not up after {UP_WITHIN:?}; see {}",
        log_path.display()
    );
    eprintln!("the services are up; set these variables, or `source .services/env`:");
    print!("{report}");
    Ok(ExitCode::SUCCESS)
}

/// Makes the keeper stop everything, and waits for it.
pub(crate) fn down(root: &Path) -> Result<ExitCode> {
    let dir = state_dir(root);
    if ask(&dir, "down").is_err() {
        eprintln!("the services are not up");
        return Ok(ExitCode::FAILURE);
    }
    // The keeper's watchdog kills those that were still starting, which takes a moment.
    let mut removed = Ok(());
    wait_until(DOWN_WITHIN, || {
        removed = fs::remove_dir_all(&dir);
        removed.is_ok()
    });
    removed.with_context(|| format!("cannot remove {}", dir.display()))?;
    eprintln!("the services are down");
    Ok(ExitCode::SUCCESS)
}

/// Prints the variables if the services are up; else the exit code is not 0.
pub(crate) fn status(root: &Path) -> Result<ExitCode> {
    match ask(&state_dir(root), "status") {
        Ok(report) if report.is_empty() => {
            eprintln!("the services are starting; see .services/keeper.log");
            Ok(ExitCode::FAILURE)
        }
        Ok(report) => {
            eprintln!("the services are up; logs are in .services/run");
            print!("{report}");
            Ok(ExitCode::SUCCESS)
        }
        Err(_) => {
            eprintln!("the services are not up");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Sends the keeper a command and returns its whole answer.
fn ask(dir: &Path, word: &str) -> Result<String> {
    let mut stream = in_dir(dir, || UnixStream::connect("socket"))?;
    stream.write_all(word.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Changes to the socket's directory: its path may have about 100 bytes only.
fn in_dir<T>(dir: &Path, act: impl FnOnce() -> io::Result<T>) -> Result<T> {
    let home = env::current_dir()?;
    env::set_current_dir(dir)?;
    let result = act();
    env::set_current_dir(home)?;
    result.with_context(|| format!("cannot use the socket in {}", dir.display()))
}

/// The keeper: starts the services, answers on the socket that is its standard input, and stops
/// them on `down`. Its files are in the current directory.
pub(crate) fn keep(wanted: &Wanted) -> Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    let held = Mutex::new(None);
    let report = OnceLock::new();
    thread::scope(|scope| {
        scope.spawn(|| match start(wanted) {
            Ok((services, text)) => {
                *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(services);
                report.get_or_init(|| text);
            }
            Err(error) => {
                eprintln!("{error:#}");
                exit(1);
            }
        });
        for stream in listener.incoming() {
            let mut stream = stream?;
            let mut word = String::new();
            // Any other command returns the variables.
            let _ = stream.read_to_string(&mut word);
            if word == "down" {
                drop(held.lock().unwrap_or_else(PoisonError::into_inner).take());
                // The watchdog kills services that are still starting.
                exit(0);
            }
            let _ = stream.write_all(report.get().map_or("", String::as_str).as_bytes());
        }
        Ok(())
    })
}

/// Starts the selected services, writes the variables to `env` and returns them.
fn start(wanted: &Wanted) -> Result<((Kafka, Option<Registry>), String)> {
    let services = services(wanted)?;
    let report = report(&services.0, services.1.as_ref(), wanted)?;
    // Renamed, so that it appears complete.
    fs::write("env.new", &report)?;
    fs::rename("env.new", "env")?;
    Ok((services, report))
}

/// Starts the selected services.
pub(crate) fn services(wanted: &Wanted) -> Result<(Kafka, Option<Registry>)> {
    thread::scope(|scope| {
        let registry = scope.spawn(|| (!wanted.no_registry).then(Registry::start).transpose());
        let mut kafka = Kafka::builder()
            .brokers(wanted.brokers)
            .tls(wanted.tls)
            .sasl(wanted.sasl)
            .access_rules(wanted.access_rules);
        if wanted.steady {
            kafka = kafka.jvm(Jvm::Steady).heap_mb(1024);
        }
        let kafka = kafka.start();
        let registry = registry
            .join()
            .map_err(|_| anyhow!("the registry's start panicked"))?;
        Ok((kafka?, registry?))
    })
}

/// Shell lines that export the library's variables; addresses without a variable are comments.
fn report(kafka: &Kafka, registry: Option<&Registry>, wanted: &Wanted) -> Result<String> {
    let mut lines = Vec::new();
    let mut export = |name: &str, value: &str| lines.push(format!("export {name}='{value}'"));
    if wanted.tls {
        let certs = kafka.certs()?;
        let client = certs.client();
        export("KAFKA_BOOTSTRAP_SERVERS", &kafka.tls_bootstrap_servers());
        export("KAFKA_SECURITY_PROTOCOL", "SSL");
        export("KAFKA_SSL_CA_LOCATION", &certs.ca().to_string_lossy());
        export(
            "KAFKA_SSL_CERTIFICATE_LOCATION",
            &client.certificate.to_string_lossy(),
        );
        export("KAFKA_SSL_KEY_LOCATION", &client.key.to_string_lossy());
        let encrypted = certs.encrypted_client()?.key;
        lines.push(format!(
            "# the same key under the password '{KEY_PASSWORD}': {}",
            encrypted.display()
        ));
        lines.push(format!("# without TLS: {}", kafka.bootstrap_servers()));
    } else {
        export("KAFKA_BOOTSTRAP_SERVERS", &kafka.bootstrap_servers());
        export("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT");
    }
    if let Some(registry) = registry {
        lines.push(format!(
            "export KAFKA_SCHEMA_REGISTRY_URL='{}'",
            registry.url()
        ));
    }
    if wanted.sasl {
        lines.push(format!(
            "# SASL_PLAINTEXT: {}",
            kafka.sasl_bootstrap_servers()
        ));
        if wanted.tls {
            lines.push(format!(
                "# SASL_SSL: {}",
                kafka.sasl_tls_bootstrap_servers()
            ));
        }
        for user in [WRITER_USER, READER_USER] {
            lines.push(format!(
                "# user '{}', password '{}'",
                user.name, user.password
            ));
        }
    }
    Ok(lines.join("\n") + "\n")
}
