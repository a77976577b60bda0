//! The background process behind `up`, `down` and `status`.
//!
//! Files of `.services/`: `socket` (who connects gets the keeper's report; who sends `down` gets it
//! when all is stopped), `env` (the variables, to be sourced), `keeper.log`, and `run/` with the
//! services' data and logs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context, Result, anyhow, bail};
use carbon_events_services::run::RUN_DIR_VARIABLE;
use carbon_events_services::{Jvm, KEY_PASSWORD, Kafka, READER_USER, Registry, WRITER_USER};
use carbon_events_services::{versions, wait_until};

use crate::{Wanted, state_dir};

/// A first start downloads and prepares everything.
const UP_WITHIN: Duration = Duration::from_secs(900);

/// Starts the keeper, waits until its services are ready and prints what to export.
pub(crate) fn up(root: &Path, wanted: &Wanted) -> Result<ExitCode> {
    let dir = state_dir(root);
    if let Ok(report) = ask(&dir, "status") {
        eprintln!("the services are up already; `cargo xtask services down` stops them");
        print!("{report}");
        return Ok(ExitCode::FAILURE);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).context("cannot clear away what an earlier keeper left")?;
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

    // A session of its own terminal-wise: Ctrl-C here must not reach it.
    let log_path = dir.join("keeper.log");
    let log = File::create(&log_path)?;
    let mut keeper = Command::new(env::current_exe()?)
        .arg("keep")
        .args(wanted.arguments())
        .env(RUN_DIR_VARIABLE, dir.join("run"))
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start the keeper")?;

    let mut shown = 0;
    let mut ended = None;
    wait_until(UP_WITHIN, || {
        // The first start takes minutes; what it does stands in its log.
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        eprint!("{}", text.get(shown..).unwrap_or_default());
        shown = text.len();
        ended = keeper.try_wait().ok().flatten();
        ended.is_some() || dir.join("env").exists()
    });
    if let Some(status) = ended {
        bail!("the keeper ended with {status}; see {}", log_path.display());
    }
    let report = ask(&dir, "status").with_context(|| format!("see {}", log_path.display()))?;
    eprintln!("they are up; put these into your shell, or `source .services/env`:");
    print!("{report}");
    Ok(ExitCode::SUCCESS)
}

/// Has the keeper stop everything, and waits for it.
pub(crate) fn down(root: &Path) -> Result<ExitCode> {
    let dir = state_dir(root);
    if ask(&dir, "down").is_err() {
        eprintln!("the services are not up");
        return Ok(ExitCode::FAILURE);
    }
    fs::remove_dir_all(&dir)?;
    eprintln!("the services are down");
    Ok(ExitCode::SUCCESS)
}

/// Prints the variables if the services are up; the exit code tells too.
pub(crate) fn status(root: &Path) -> Result<ExitCode> {
    match ask(&state_dir(root), "status") {
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

/// Sends the keeper a word and returns its whole answer.
fn ask(dir: &Path, word: &str) -> Result<String> {
    // A socket's path may have about 100 bytes: go there and name it shortly.
    let home = env::current_dir()?;
    env::set_current_dir(dir)?;
    let stream = UnixStream::connect("socket");
    env::set_current_dir(home)?;
    let mut stream = stream?;
    stream.write_all(word.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The keeper: starts the services, answers, and stops them on `down`. Its files are in the current
/// directory.
pub(crate) fn keep(wanted: &Wanted) -> Result<()> {
    let (kafka, registry) = thread::scope(|scope| {
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
        anyhow::Ok((kafka?, registry?))
    })?;
    let listener = UnixListener::bind("socket").context("cannot make a socket to listen on")?;
    let report = report(&kafka, registry.as_ref(), wanted)?;
    // Complete when it appears: `up` waits for it.
    fs::write("env.new", &report)?;
    fs::rename("env.new", "env")?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut word = String::new();
        // Whoever does not speak our language gets the report.
        let _ = stream.read_to_string(&mut word);
        if word == "down" {
            drop((kafka, registry));
            return Ok(());
        }
        let _ = stream.write_all(report.as_bytes());
    }
    Ok(())
}

/// Shell lines that export the variables of the library, and as comments what has none.
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
