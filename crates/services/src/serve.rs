//! The services for tests that are no Rust: `serve` starts them as the child of a test run, in any
//! language, and does what it is told on its standard input.
//!
//! ```text
//! → {"plain": "127.0.0.1:…", "registry": "http://…", "ca": "/…/ca.pem", …}   once they are up
//! ← create-topic NAME PARTITIONS [PROPERTY=VALUE …] · kill N · stop N · restart N · pause N ·
//!   resume N · registry kill|restart|pause|resume
//! → ok, or error: WHY                                                     a line for each
//! ```
//!
//! They end with the standard input, and so with the test run, however that ends.

use std::io::{self, BufRead, Write};

use anyhow::{Context, Result, bail};
use carbon_events_services::{KEY_PASSWORD, Kafka, Registry, WRITER_USER};
use serde_json::{Map, Value};

use crate::{Wanted, keeper};

/// Starts what is wanted, and serves until the standard input ends.
pub(crate) fn serve(wanted: &Wanted) -> Result<()> {
    let (kafka, registry) = keeper::services(wanted)?;
    say(&addresses(&kafka, registry.as_ref(), wanted)?.to_string())?;
    for line in io::stdin().lock().lines() {
        let words = line?;
        let words: Vec<_> = words.split_whitespace().collect();
        match obey(&kafka, registry.as_ref(), &words) {
            Ok(()) => say("ok")?,
            Err(error) => say(&format!("error: {error:#}").replace('\n', " "))?,
        }
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn addresses(kafka: &Kafka, registry: Option<&Registry>, wanted: &Wanted) -> Result<Value> {
    let mut found = Map::new();
    let mut add = |name: &str, value: String| found.insert(name.to_owned(), value.into());
    add("plain", kafka.bootstrap_servers());
    if let Some(registry) = registry {
        add("registry", registry.url());
    }
    if wanted.tls {
        let certs = kafka.certs()?;
        let encrypted = certs.encrypted_client()?;
        let path = |path: &std::path::Path| path.display().to_string();
        add("tls", kafka.tls_bootstrap_servers());
        add("ca", path(&certs.ca()));
        add("certificate", path(&certs.client().certificate));
        add("key", path(&certs.client().key));
        add("encryptedKey", path(&encrypted.key));
        add("keyPassword", KEY_PASSWORD.to_owned());
        add("strangerCa", path(&certs.stranger_ca()));
        add("keystore", path(&certs.client_keystore()?));
    }
    if wanted.sasl {
        add("sasl", kafka.sasl_bootstrap_servers());
        add("user", WRITER_USER.name.to_owned());
        add("password", WRITER_USER.password.to_owned());
    }
    Ok(found.into())
}

fn obey(kafka: &Kafka, registry: Option<&Registry>, words: &[&str]) -> Result<()> {
    match words {
        ["create-topic", name, partitions, properties @ ..] => {
            let properties: Vec<_> = properties
                .iter()
                .filter_map(|property| property.split_once('='))
                .collect();
            kafka.create_topic(name, partitions.parse()?, &properties)
        }
        ["registry", act] => {
            let registry = registry.context("there is no registry")?;
            match *act {
                "kill" => registry.kill(),
                "restart" => registry.restart(),
                "pause" => registry.pause(),
                "resume" => registry.resume(),
                _ => bail!("a registry cannot {act}"),
            }
        }
        [act, node] => {
            let node = node.parse()?;
            match *act {
                "kill" => kafka.kill(node),
                "stop" => kafka.stop(node),
                "restart" => kafka.restart(node),
                "pause" => kafka.pause(node),
                "resume" => kafka.resume(node),
                _ => bail!("a node cannot {act}"),
            }
        }
        _ => bail!("not understood"),
    }
}
