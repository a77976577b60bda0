//! `server.properties` of each node.

use std::fmt::Write;
use std::path::Path;

use super::{Builder, NodePorts};
use crate::certs::Certs;

/// A user of the SASL listeners.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// The name; with access rules its principal is `User:NAME`.
    pub name: &'static str,
    /// The password, for PLAIN and SCRAM.
    pub password: &'static str,
}

/// The user that may do everything.
pub const WRITER_USER: User = User {
    name: "carbon-events",
    password: "writer-password",
};
/// The user that may read and not write where access rules are on.
pub const READER_USER: User = User {
    name: "carbon-events-reader",
    password: "reader-password",
};

/// Who may read and not write.
pub(super) const READER_PRINCIPALS: [&str; 2] =
    ["User:carbon-events-reader", "User:CN=carbon-events-reader"];

/// What the bootstrap metadata depends on beside Kafka itself: change it with the users.
pub(crate) const PREPARED_WITH: &str = "SCRAM users: writer, reader";

/// The storage tool's arguments that put the users into the bootstrap metadata.
pub(super) fn scram_arguments() -> impl Iterator<Item = String> {
    let users = [WRITER_USER, READER_USER];
    users.into_iter().flat_map(|User { name, password }| {
        ["SCRAM-SHA-256", "SCRAM-SHA-512"]
            .into_iter()
            .flat_map(move |mechanism| {
                [
                    "--add-scram".into(),
                    format!("{mechanism}=[name={name},password={password}]"),
                ]
            })
    })
}

/// Replicas of a topic, and of Kafka's own, in a cluster of so many nodes.
pub(super) fn replicas(brokers: u16) -> u16 {
    brokers.min(3)
}

/// What the nodes have in common.
pub(super) struct Cluster<'a> {
    builder: &'a Builder,
    ports: &'a [NodePorts],
    certs: Option<&'a Certs>,
    id: String,
}

impl<'a> Cluster<'a> {
    pub(super) fn new(
        builder: &'a Builder,
        ports: &'a [NodePorts],
        certs: Option<&'a Certs>,
    ) -> Self {
        // A Kafka uuid is 22 base64 digits, of which the last has only two bits to spare.
        let id = format!("carbonEvents{:05}testA", ports[0].plain.number());
        Cluster {
            builder,
            ports,
            certs,
            id,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What the storage tool writes into a formatted directory beside the bootstrap metadata.
    pub(super) fn meta_properties(&self, node: u16) -> String {
        format!(
            "version=1\ncluster.id={}\nnode.id={node}\ndirectory.id=carbonEventsNode{node:05}A\n",
            self.id
        )
    }

    /// Each node's `server.properties`; node N keeps its data in `data`/N.
    pub(super) fn properties(&self, data: &Path) -> impl Iterator<Item = String> {
        (1..).zip(self.ports).map(move |(node, ports)| {
            let mut text = String::new();
            let mut set = |name: &str, value: &str| {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{name}={value}");
            };
            set("node.id", &node.to_string());
            set("log.dirs", &data.join(node.to_string()).to_string_lossy());
            self.set_listeners(ports, &mut set);
            self.set_replication(&mut set);
            if let Some(certs) = self.certs {
                set_tls(certs, &mut set);
            }
            if self.builder.sasl {
                set_sasl(&mut set);
            }
            if self.builder.access_rules {
                set_access_rules(&mut set);
            }
            // In a properties file the last one wins.
            for (name, value) in &self.builder.properties {
                set(name, value);
            }
            text
        })
    }

    fn set_listeners(&self, ports: &NodePorts, set: &mut impl FnMut(&str, &str)) {
        let listeners = [
            ("PLAIN", "PLAINTEXT", Some(&ports.plain)),
            ("CONTROLLER", "PLAINTEXT", Some(&ports.controller)),
            ("TLS", "SSL", ports.tls.as_ref()),
            ("SASL", "SASL_PLAINTEXT", ports.sasl.as_ref()),
            ("SASLTLS", "SASL_SSL", ports.sasl_tls.as_ref()),
        ];
        let mut addresses = Vec::new();
        let mut protocols = Vec::new();
        for (name, protocol, port) in listeners {
            if let Some(port) = port {
                addresses.push(format!("{name}://{}", port.address()));
                protocols.push(format!("{name}:{protocol}"));
            }
        }
        let voters = (1..)
            .zip(self.ports)
            .map(|(node, ports): (u16, &NodePorts)| {
                format!("{node}@{}", ports.controller.address())
            });
        set("process.roles", "broker,controller");
        set("listeners", &addresses.join(","));
        set("listener.security.protocol.map", &protocols.join(","));
        set("inter.broker.listener.name", "PLAIN");
        set("controller.listener.names", "CONTROLLER");
        set(
            "controller.quorum.voters",
            &voters.collect::<Vec<_>>().join(","),
        );
    }

    fn set_replication(&self, set: &mut impl FnMut(&str, &str)) {
        let replicas = replicas(self.builder.brokers);
        let in_sync = replicas.saturating_sub(1).max(1).to_string();
        let replicas = replicas.to_string();
        set("default.replication.factor", &replicas);
        set("min.insync.replicas", &in_sync);
        set("offsets.topic.replication.factor", &replicas);
        set("transaction.state.log.replication.factor", &replicas);
        set("transaction.state.log.min.isr", &in_sync);
        set(
            "share.coordinator.state.topic.replication.factor",
            &replicas,
        );
        set("share.coordinator.state.topic.min.isr", &in_sync);
        // Fifty partitions each, as by default, cost seconds of a test's time on their first use.
        set("offsets.topic.num.partitions", "5");
        set("transaction.state.log.num.partitions", "5");
        set("share.coordinator.state.topic.num.partitions", "5");
        set("group.initial.rebalance.delay.ms", "0");
        // A producer that misspells a topic is to hear of it.
        set("auto.create.topics.enable", "false");
        // Of the default of 128 MB the cleaner would take half of our heap at once.
        set("log.cleaner.dedupe.buffer.size", "16777216");
    }
}

fn set_tls(certs: &Certs, set: &mut impl FnMut(&str, &str)) {
    set("ssl.keystore.type", "PEM");
    set(
        "ssl.keystore.location",
        &certs.server_keystore().to_string_lossy(),
    );
    set("ssl.truststore.type", "PEM");
    set("ssl.truststore.location", &certs.ca().to_string_lossy());
    set("listener.name.tls.ssl.client.auth", "required");
    set("listener.name.sasltls.ssl.client.auth", "none");
}

fn set_sasl(set: &mut impl FnMut(&str, &str)) {
    const MODULES: &str = "org.apache.kafka.common.security";
    set(
        "sasl.enabled.mechanisms",
        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
    );
    let passwords = [WRITER_USER, READER_USER]
        .map(|User { name, password }| format!("user_{name}=\"{password}\""))
        .join(" ");
    for listener in ["sasl", "sasltls"] {
        let mut jaas = |mechanism: &str, module: &str| {
            set(
                &format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"),
                &format!("{MODULES}.{module};"),
            );
        };
        jaas(
            "plain",
            &format!("plain.PlainLoginModule required {passwords}"),
        );
        jaas("scram-sha-256", "scram.ScramLoginModule required");
        jaas("scram-sha-512", "scram.ScramLoginModule required");
        // Any unsigned token is taken; its subject is the user.
        jaas(
            "oauthbearer",
            "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\"",
        );
    }
}

fn set_access_rules(set: &mut impl FnMut(&str, &str)) {
    set(
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    );
    // ANONYMOUS is whoever comes through the plain listener, the brokers among them.
    set(
        "super.users",
        &format!(
            "User:ANONYMOUS;User:CN={};User:{}",
            crate::certs::CLIENT,
            WRITER_USER.name
        ),
    );
}
