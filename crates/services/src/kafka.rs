//! A Kafka cluster of one or more nodes, each broker and controller in one process.
//!
//! There is always a plain listener, for traffic between brokers and for the test itself. Access rules
//! do not apply to it.

mod config;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::artifacts;
use crate::certs::Certs;
use crate::java::{ARCHIVE_WITHIN, Jvm, java};
use crate::ports::{Port, with_free_ports};
use crate::process::{Service, Slot, output_of, wait_until};
use crate::{run, wire};

pub(crate) use config::PREPARED_WITH;
pub use config::{READER_USER, User, WRITER_USER};

/// A start takes 2 s, and many times that while builds and other tests use the cores.
const START_WITHIN: Duration = Duration::from_secs(300);
/// A broker moves its partitions' leadership before it stops.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Options of a cluster. Created by [`Kafka::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    brokers: u16,
    tls: bool,
    sasl: bool,
    access_rules: bool,
    jvm: Jvm,
    heap_mb: u32,
    properties: Vec<(String, String)>,
}

impl Builder {
    /// The number of nodes, 1 by default. Topics get as many replicas, up to three.
    pub fn brokers(mut self, brokers: u16) -> Self {
        self.brokers = brokers;
        self
    }

    /// Adds a TLS listener that requires a client certificate.
    pub fn tls(mut self, on: bool) -> Self {
        self.tls = on;
        self
    }

    /// Adds a SASL listener for [`WRITER_USER`] and [`READER_USER`] with PLAIN, SCRAM-SHA-256,
    /// SCRAM-SHA-512 and OAUTHBEARER (unsecured tokens); with [`tls`](Self::tls) one over TLS too.
    pub fn sasl(mut self, on: bool) -> Self {
        self.sasl = on;
        self
    }

    /// Turns on access rules: the reader (by certificate or password) may only read, the writer may do
    /// everything, any other client nothing.
    pub fn access_rules(mut self, on: bool) -> Self {
        self.access_rules = on;
        self
    }

    /// [`Jvm::Quick`] by default.
    pub fn jvm(mut self, jvm: Jvm) -> Self {
        self.jvm = jvm;
        self
    }

    /// The JVM's largest heap of each node, 512 MB by default.
    pub fn heap_mb(mut self, heap_mb: u32) -> Self {
        self.heap_mb = heap_mb;
        self
    }

    /// Sets one property of `server.properties` on every node, overriding ours.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Starts the cluster and waits until every node knows all others.
    pub fn start(self) -> Result<Kafka> {
        let programs = artifacts::kafka()?;
        let ready = artifacts::kafka_ready(&programs)?;
        with_free_ports(|| Kafka::start(&self, &programs, &ready)).context("cannot start Kafka")
    }
}

/// A running cluster. Dropping it kills the nodes and removes their data.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
    certs: Option<Certs>,
    jvm: Vec<String>,
    dir: PathBuf,
}

#[derive(Debug)]
struct Node {
    id: u16,
    ports: NodePorts,
    /// `server.properties`.
    config: PathBuf,
    log: PathBuf,
    service: Slot,
}

/// One node's ports; a listener that is off has none.
#[derive(Debug)]
struct NodePorts {
    plain: Port,
    controller: Port,
    tls: Option<Port>,
    sasl: Option<Port>,
    sasl_tls: Option<Port>,
}

impl NodePorts {
    fn take(builder: &Builder) -> Result<NodePorts> {
        let take_if = |on: bool| on.then(Port::take).transpose();
        Ok(NodePorts {
            plain: Port::take()?,
            controller: Port::take()?,
            tls: take_if(builder.tls)?,
            sasl: take_if(builder.sasl)?,
            sasl_tls: take_if(builder.tls && builder.sasl)?,
        })
    }
}

impl Node {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.plain.number()).into()
    }

    fn spawn(&self, jvm: &[String], class_path: &str) -> Result<()> {
        let mut command = java();
        command
            .args(jvm)
            .args(["-cp", class_path, "kafka.Kafka"])
            .arg(&self.config);
        self.service.spawn(&mut command, &self.log)
    }

    /// Waits until it answers and knows `brokers` brokers, including itself.
    fn wait_until_ready(&self, brokers: usize) -> Result<()> {
        self.service.wait_until_ready(START_WITHIN, || {
            wire::metadata(self.address()).is_ok_and(|metadata| metadata.brokers >= brokers)
        })
    }
}

impl Kafka {
    /// By default a cluster of one node with a plain listener.
    pub fn builder() -> Builder {
        Builder {
            brokers: 1,
            tls: false,
            sasl: false,
            access_rules: false,
            jvm: Jvm::default(),
            heap_mb: 512,
            properties: Vec::new(),
        }
    }

    fn start(builder: &Builder, programs: &artifacts::Kafka, ready: &Path) -> Result<Kafka> {
        ensure!(
            (1..=9).contains(&builder.brokers),
            "a cluster of {} brokers",
            builder.brokers
        );
        let dir = run::new_dir("kafka")?;
        let certs = builder
            .tls
            .then(|| Certs::make(dir.join("tls")))
            .transpose()?;
        let ports = (0..builder.brokers)
            .map(|_| NodePorts::take(builder))
            .collect::<Result<Vec<_>>>()?;
        let cluster = config::Cluster::new(builder, &ports, certs.as_ref());

        let mut jvm = builder
            .jvm
            .arguments(builder.heap_mb, Some(&ready.join(ARCHIVE)));
        jvm.push(programs.broker_log4j_argument());
        let mut nodes = Vec::new();
        for (id, properties) in (1..).zip(cluster.properties(&dir.join("data"))) {
            let data = dir.join("data").join(id.to_string());
            fs::create_dir_all(&data)?;
            fs::copy(ready.join(BOOTSTRAP), data.join(BOOTSTRAP))?;
            fs::write(data.join("meta.properties"), cluster.meta_properties(id))?;
            let config = dir.join("data").join(format!("server-{id}.properties"));
            fs::write(&config, properties)?;
            nodes.push((id, config));
        }
        let kafka = Kafka {
            nodes: nodes
                .into_iter()
                .zip(ports)
                .map(|((id, config), ports)| Node {
                    id,
                    ports,
                    config,
                    log: dir.join(format!("node-{id}.log")),
                    service: Slot::new(format!("Kafka node {id}")),
                })
                .collect(),
            certs,
            jvm,
            dir,
        };
        // All at once: a quorum forms only when most of them run.
        for node in &kafka.nodes {
            node.spawn(&kafka.jvm, &programs.class_path)?;
        }
        for node in &kafka.nodes {
            node.wait_until_ready(kafka.nodes.len())?;
        }
        if builder.access_rules {
            for principal in config::READER_PRINCIPALS {
                wire::allow_reading(kafka.nodes[0].address(), principal)?;
            }
        }
        Ok(kafka)
    }

    /// `host:port,…` of the plain listeners.
    pub fn bootstrap_servers(&self) -> String {
        join(self.nodes.iter().map(|node| &node.ports.plain))
    }

    /// The TLS listeners, which require a client certificate; empty without
    /// [`Builder::tls`].
    pub fn tls_bootstrap_servers(&self) -> String {
        join(self.nodes.iter().filter_map(|node| node.ports.tls.as_ref()))
    }

    /// The SASL listeners without TLS (`SASL_PLAINTEXT`); empty without [`Builder::sasl`].
    pub fn sasl_bootstrap_servers(&self) -> String {
        join(
            self.nodes
                .iter()
                .filter_map(|node| node.ports.sasl.as_ref()),
        )
    }

    /// The SASL listeners over TLS (`SASL_SSL`), which require no certificate; empty without both.
    pub fn sasl_tls_bootstrap_servers(&self) -> String {
        join(
            self.nodes
                .iter()
                .filter_map(|node| node.ports.sasl_tls.as_ref()),
        )
    }

    /// The certificates; an error without [`Builder::tls`].
    pub fn certs(&self) -> Result<&Certs> {
        self.certs
            .as_ref()
            .context("this cluster was started without TLS")
    }

    /// The number of nodes, numbered from 1.
    pub fn brokers(&self) -> u16 {
        self.nodes.len() as u16
    }

    /// The process id of a running node.
    pub fn pid(&self, node: u16) -> Result<u32> {
        self.node(node)?.service.pid()
    }

    /// Kills a node (SIGKILL), as a crash would.
    pub fn kill(&self, node: u16) -> Result<()> {
        self.node(node)?.service.kill()
    }

    /// Stops a node (SIGTERM): it moves its partitions' leadership first.
    pub fn stop(&self, node: u16) -> Result<()> {
        self.node(node)?.service.stop(STOP_WITHIN)
    }

    /// Starts a node again with its data and ports, after stopping it if it still runs. Returns
    /// when it answers; its replicas may still be catching up
    /// ([`wait_until_in_sync`](Self::wait_until_in_sync)).
    pub fn restart(&self, node: u16) -> Result<()> {
        let class_path = artifacts::kafka()?.class_path;
        let node = self.node(node)?;
        if node.service.is_running() {
            node.service.stop(STOP_WITHIN)?;
        }
        node.spawn(&self.jvm, &class_path)?;
        node.wait_until_ready(1)
    }

    /// Freezes a node (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self, node: u16) -> Result<()> {
        self.node(node)?.service.pause()
    }

    /// Resumes a frozen node.
    pub fn resume(&self, node: u16) -> Result<()> {
        self.node(node)?.service.resume()
    }

    /// Creates a topic and waits until every running node knows its partitions' leaders.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: u16,
        properties: &[(&str, &str)],
    ) -> Result<()> {
        let replicas = config::replicas(self.brokers()) as i16;
        let address = self
            .running_nodes()
            .next()
            .context("no node is running")?
            .address();
        wire::create_topic(address, name, i32::from(partitions), replicas, properties)?;
        self.wait_for_metadata(START_WITHIN, "knows the new topic", |metadata| {
            let topic = metadata.topics.iter().find(|topic| topic.name == name);
            topic.is_some_and(|topic| {
                topic.partitions.len() == usize::from(partitions)
                    && topic
                        .partitions
                        .iter()
                        .all(|partition| partition.leader > 0)
            })
        })
    }

    /// Waits until all replicas of all partitions are in sync, some time after a killed node's
    /// restart.
    pub fn wait_until_in_sync(&self, deadline: Duration) -> Result<()> {
        self.wait_for_metadata(deadline, "sees all replicas in sync", |metadata| {
            let mut partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.all(|partition| partition.in_sync == partition.replicas)
        })
    }

    /// Waits until every running node's metadata meets a condition.
    fn wait_for_metadata(
        &self,
        deadline: Duration,
        what: &str,
        holds: impl Fn(&wire::Metadata) -> bool,
    ) -> Result<()> {
        for node in self.running_nodes() {
            let mut seen = None;
            let held = wait_until(deadline, || {
                seen = wire::metadata(node.address()).ok();
                seen.as_ref().is_some_and(&holds)
            });
            ensure!(
                held,
                "not after {deadline:?}: node {} {what}; it knows {seen:?}",
                node.id
            );
        }
        Ok(())
    }

    /// The directory of the nodes' logs, `node-N.log`.
    pub fn logs_dir(&self) -> &Path {
        &self.dir
    }

    fn running_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.service.is_running())
    }

    fn node(&self, node: u16) -> Result<&Node> {
        let found = self.nodes.iter().find(|candidate| candidate.id == node);
        found.with_context(|| format!("no node {node} in a cluster of {}", self.nodes.len()))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.service.end();
        }
        run::clean(&self.dir);
    }
}

fn join<'a>(ports: impl Iterator<Item = &'a Port>) -> String {
    ports.map(Port::address).collect::<Vec<_>>().join(",")
}

/// The metadata that a formatted node starts from; the same for all nodes and clusters.
const BOOTSTRAP: &str = "bootstrap.checkpoint";
/// The class data archive of a broker with all listeners on.
const ARCHIVE: &str = "kafka.jsa";

/// Formats a node with Kafka's own tool, runs it once with every listener and keeps what later starts
/// reuse: [`BOOTSTRAP`] and [`ARCHIVE`].
pub(crate) fn prepare(programs: &artifacts::Kafka, into: &Path) -> Result<()> {
    let builder = Kafka::builder().tls(true).sasl(true).access_rules(true);
    let dir = into.join("node");
    let certs = Certs::make(dir.join("tls"))?;
    let ports = NodePorts::take(&builder)?;
    let plain = (Ipv4Addr::LOCALHOST, ports.plain.number()).into();
    let ports = [ports];
    let cluster = config::Cluster::new(&builder, &ports, Some(&certs));
    let config = dir.join("server.properties");
    let properties = cluster
        .properties(&dir.join("data"))
        .next()
        .context("no node")?;
    fs::write(&config, properties)?;

    let mut format = java();
    format.args(builder.jvm.arguments(builder.heap_mb, None));
    format.args([
        "-cp",
        &programs.class_path,
        "kafka.tools.StorageTool",
        "format",
    ]);
    format
        .args(["-t", cluster.id(), "-c"])
        .arg(&config)
        .args(config::scram_arguments());
    output_of("format a Kafka node", &mut format)?;
    fs::copy(dir.join("data/1").join(BOOTSTRAP), into.join(BOOTSTRAP))?;

    let mut command = java();
    command.args(builder.jvm.arguments(builder.heap_mb, None));
    command.arg(format!(
        "-XX:ArchiveClassesAtExit={}",
        into.join(ARCHIVE).display()
    ));
    command.arg(programs.broker_log4j_argument());
    command
        .args(["-cp", &programs.class_path, "kafka.Kafka"])
        .arg(&config);
    let log = into.join("node.log");
    let mut service = Service::spawn("the first Kafka node", &mut command, &log)?;
    service.wait_until_ready(START_WITHIN, || {
        wire::metadata(plain).is_ok_and(|metadata| metadata.brokers == 1)
    })?;
    wire::create_topic(plain, "first", 1, 1, &[])?;
    service.stop(ARCHIVE_WITHIN)?;
    Ok(fs::remove_dir_all(dir)?)
}
