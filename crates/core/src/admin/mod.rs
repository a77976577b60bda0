//! The topic table on a cluster: what differs, and making it so.
//!
//! ```text
//! TopicTable --specs--> compare <--state-- the cluster     diff, verify
//!                          |
//!                     differences --> create, grow, set    apply
//!                          |
//!                 wait until the cluster shows it
//! ```
//!
//! [`Admin::apply`] creates what is missing, adds partitions and sets the configurations that the
//! table decides (`retention.ms`, `cleanup.policy`, `min.insync.replicas`, `compression.type`). It
//! never deletes a topic, never takes partitions away, moves no replicas and leaves every other
//! configuration alone; doing it again changes nothing.
//!
//! Adding partitions moves keys to other partitions, which ends the order of a key's records across
//! the change: the table's counts are meant to stay.
//!
//! ```no_run
//! use carbon_events::admin::{Admin, TopicTable};
//!
//! # fn main() -> carbon_events::Result<()> {
//! let admin = Admin::from_env()?;
//! let applied = admin.apply(&TopicTable::all())?;
//! for (topic, change) in &applied.done {
//!     println!("{topic}: {change}");
//! }
//! # Ok(())
//! # }
//! ```

mod diff;
mod errors;
mod native;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::background::on_a_thread;
use crate::client::check_token_source;
use crate::config::{ConnectionSettings, TokenProvider};
use crate::events::{Topic, TopicSpec};
use crate::{Error, ErrorKind, Result};
use diff::{Configs, compare};
use native::{Client, NewTopic, Outcome, exists_already};
use table::configs;

pub use diff::{ClusterDiff, Difference, TopicDiff};
pub use table::TopicTable;

/// How long a call may take unless the builder says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often the cluster is asked whether it shows a change yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Compares and makes the platform's topics on a cluster. Cheap to clone; all clones are one client.
///
/// Every call comes twice: blocking, and `_async` for any executor. A call ends within the
/// [timeout](AdminBuilder::timeout) with one of these [`ErrorKind`]s: `Unavailable` (no broker can
/// be reached), `Authentication`, `Authorization`, `Timeout`, or `InvalidConfig` (a broker refuses
/// what the table asks for).
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    connection: ConnectionSettings,
    timeout: Duration,
}

impl Admin {
    /// A builder with the default settings.
    pub fn builder() -> AdminBuilder {
        AdminBuilder {
            connection: ConnectionSettings::default(),
            token_provider: None,
            timeout: TIMEOUT,
        }
    }

    /// An admin for this cluster; it connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming the `setting`.
    pub fn new(connection: ConnectionSettings) -> Result<Admin> {
        Self::builder().connection(connection).build()
    }

    /// As [`new`](Self::new), for the cluster that the environment variables tell of.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming the `setting`.
    pub fn from_env() -> Result<Admin> {
        Self::new(ConnectionSettings::from_env()?)
    }

    /// Tells in what the cluster differs from the table.
    pub fn diff(&self, table: &TopicTable) -> Result<ClusterDiff> {
        self.inner.diff(table, self.inner.deadline())
    }

    /// As [`diff`](Self::diff), for async code.
    pub async fn diff_async(&self, table: &TopicTable) -> Result<ClusterDiff> {
        let table = table.clone();
        self.on_a_thread(move |admin| admin.diff(&table)).await
    }

    /// Checks that the cluster is as the table says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownTopic`] if a topic is missing, [`ErrorKind::InvalidConfig`] if one
    /// differs otherwise, both naming the first such `topic`; and those of all calls.
    pub fn verify(&self, table: &TopicTable) -> Result<()> {
        let diff = self.diff(table)?;
        let missing = diff
            .iter()
            .find(|(_, what)| matches!(what, Difference::Missing { .. }));
        let Some((topic, difference)) = missing.or_else(|| diff.iter().next()) else {
            return Ok(());
        };
        let kind = match difference {
            Difference::Missing { .. } => ErrorKind::UnknownTopic,
            _ => ErrorKind::InvalidConfig,
        };
        let count = diff
            .topics
            .iter()
            .filter(|topic| !topic.differences.is_empty())
            .count();
        let message = format!(
            "{count} of {} topics differ from the table; the first one is {difference} \
             (`carbon-events topics diff` shows all, `carbon-events topics apply` mends them)",
            diff.topics.len()
        );
        let name = self.inner.connection.topic_name(topic);
        Err(Error::new(kind, message).with("topic", name))
    }

    /// As [`verify`](Self::verify), for async code.
    pub async fn verify_async(&self, table: &TopicTable) -> Result<()> {
        let table = table.clone();
        self.on_a_thread(move |admin| admin.verify(&table)).await
    }

    /// Makes the cluster as the table says, as far as that takes nothing away, and returns when it
    /// shows the changes.
    ///
    /// A change that a broker refuses stands in [`Applied::failed`] and keeps no other from being
    /// made.
    pub fn apply(&self, table: &TopicTable) -> Result<Applied> {
        self.inner.apply(table, self.inner.deadline(), |_| true)
    }

    /// As [`apply`](Self::apply), for async code. What is begun goes on if the future is dropped.
    pub async fn apply_async(&self, table: &TopicTable) -> Result<Applied> {
        let table = table.clone();
        self.on_a_thread(move |admin| admin.apply(&table)).await
    }

    /// As [`apply`](Self::apply), but only creates missing topics and leaves those that are there.
    pub fn create_missing(&self, table: &TopicTable) -> Result<Applied> {
        let missing = |difference: &Difference| matches!(difference, Difference::Missing { .. });
        self.inner.apply(table, self.inner.deadline(), missing)
    }

    /// As [`create_missing`](Self::create_missing), for async code. What is begun goes on if the
    /// future is dropped.
    pub async fn create_missing_async(&self, table: &TopicTable) -> Result<Applied> {
        let table = table.clone();
        self.on_a_thread(move |admin| admin.create_missing(&table))
            .await
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Admin) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let admin = self.clone();
        on_a_thread("carbon-events-admin-call", move || work(&admin)).await?
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("timeout", &self.inner.timeout)
            .finish_non_exhaustive()
    }
}

/// Settings of an [`Admin`].
#[derive(Debug, Clone)]
#[must_use]
pub struct AdminBuilder {
    connection: ConnectionSettings,
    token_provider: Option<TokenProvider>,
    timeout: Duration,
}

impl AdminBuilder {
    /// How to reach the brokers.
    pub fn connection(mut self, connection: ConnectionSettings) -> Self {
        self.connection = connection;
        self
    }

    /// Where tokens for `OAUTHBEARER` come from.
    pub fn token_provider(mut self, tokens: TokenProvider) -> Self {
        self.token_provider = Some(tokens);
        self
    }

    /// How long each call may take; 30 seconds unless given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The admin. It connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming the `setting`.
    pub fn build(self) -> Result<Admin> {
        self.connection.check_files()?;
        let config = self.connection.client_config()?;
        check_token_source(&config, self.token_provider.as_ref())?;
        let client = Client::new(&config, self.token_provider)?;
        Ok(Admin {
            inner: Arc::new(Inner {
                client,
                connection: self.connection,
                timeout: self.timeout,
            }),
        })
    }
}

/// What [`Admin::apply`] did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Applied {
    /// The differences that are gone now.
    pub done: Vec<(Topic, Difference)>,
    /// Those that a broker refused to do away with, and why.
    pub failed: Vec<(Topic, Difference, Error)>,
    /// How the cluster differs from the table now.
    pub left: ClusterDiff,
}

impl Applied {
    /// The first refusal as an error, where there is one.
    pub fn into_result(self) -> Result<Applied> {
        match self.failed.first() {
            Some((_, _, error)) => Err(error.clone()),
            None => Ok(self),
        }
    }
}

impl Inner {
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        // A timeout beyond the clock's range is none that anybody waits for.
        now.checked_add(self.timeout)
            .unwrap_or_else(|| now + Duration::from_secs(3600))
    }

    fn diff(&self, table: &TopicTable, deadline: Instant) -> Result<ClusterDiff> {
        let cluster = self.client.cluster(deadline)?;
        let specs = table.specs(cluster.brokers);
        let states: HashMap<&str, _> = cluster
            .topics
            .iter()
            .map(|topic| (topic.name.as_str(), topic))
            .collect();
        let names = specs
            .iter()
            .map(|spec| self.connection.topic_name(spec.topic));
        let names: Vec<String> = names.collect();
        let there: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| states.contains_key(name))
            .collect();
        let mut configs: HashMap<String, Configs> = HashMap::new();
        if !there.is_empty() {
            for (topic, outcome) in self.client.describe_configs(&there, deadline)? {
                configs.insert(topic, outcome?.into_iter().collect());
            }
        }
        let topics = specs.iter().zip(&names).map(|(spec, name)| {
            let have = states.get(name.as_str()).copied();
            compare(spec, have.zip(configs.get(name)))
        });
        Ok(ClusterDiff {
            brokers: cluster.brokers,
            topics: topics.collect(),
        })
    }

    fn apply(
        &self,
        table: &TopicTable,
        deadline: Instant,
        wanted: impl Fn(&Difference) -> bool,
    ) -> Result<Applied> {
        let before = self.diff(table, deadline)?;
        let specs = table.specs(before.brokers);
        let to_do: Vec<(Topic, Difference)> = before
            .iter()
            .filter(|(_, difference)| difference.can_apply() && wanted(difference))
            .map(|(topic, difference)| (topic, difference.clone()))
            .collect();
        if to_do.is_empty() {
            return Ok(Applied {
                done: to_do,
                failed: Vec::new(),
                left: before,
            });
        }
        let refused = self.change(&specs, &to_do, deadline)?;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (topic, difference) in to_do {
            match refused.get(&(topic, Request::of(&difference))) {
                Some(error) => failed.push((topic, difference, error.clone())),
                None => done.push((topic, difference)),
            }
        }
        let left = self.wait_until_shown(table, &done, deadline)?;
        Ok(Applied { done, failed, left })
    }

    /// Sends the requests that do away with the differences; returns those that were refused.
    fn change(
        &self,
        specs: &[TopicSpec],
        to_do: &[(Topic, Difference)],
        deadline: Instant,
    ) -> Result<HashMap<(Topic, Request), Error>> {
        let (mut missing, mut growing) = (Vec::new(), Vec::new());
        let mut drifted: Vec<(&str, Vec<(&'static str, String)>)> = Vec::new();
        let names = to_do
            .iter()
            .map(|(topic, _)| self.connection.topic_name(*topic));
        let names: Vec<String> = names.collect();
        for ((topic, difference), name) in to_do.iter().zip(&names) {
            let name = name.as_str();
            match difference {
                Difference::Missing {
                    partitions,
                    replication_factor,
                } => {
                    let spec = specs.iter().find(|spec| spec.topic == *topic);
                    missing.push(NewTopic {
                        name,
                        partitions: *partitions,
                        replication_factor: *replication_factor,
                        configs: spec.map(|spec| configs(spec).to_vec()).unwrap_or_default(),
                    });
                }
                Difference::Partitions { want, .. } => growing.push((name, *want)),
                Difference::Config {
                    name: config, want, ..
                } => {
                    let change = (*config, want.clone());
                    match drifted.iter_mut().find(|(topic, _)| *topic == name) {
                        Some((_, changes)) => changes.push(change),
                        None => drifted.push((name, vec![change])),
                    }
                }
                Difference::ReplicationFactor { .. } => {}
            }
        }
        let mut refused = HashMap::new();
        let mut note = |request: Request, outcomes: Vec<Outcome<()>>| {
            for (name, outcome) in outcomes {
                if let (Some(topic), Err(error)) = (self.connection.topic_of(&name), outcome) {
                    // Somebody else made it at the same time: what is left to change shows next.
                    if !exists_already(&error) {
                        refused.insert((topic, request), error);
                    }
                }
            }
        };
        if !missing.is_empty() {
            note(
                Request::Create,
                self.client.create_topics(&missing, deadline)?,
            );
        }
        if !growing.is_empty() {
            note(
                Request::Grow,
                self.client.create_partitions(&growing, deadline)?,
            );
        }
        if !drifted.is_empty() {
            note(Request::Set, self.client.set_configs(&drifted, deadline)?);
        }
        Ok(refused)
    }

    /// Waits until the cluster shows that these differences are gone: each broker learns of a change
    /// a moment after the controller made it.
    fn wait_until_shown(
        &self,
        table: &TopicTable,
        done: &[(Topic, Difference)],
        deadline: Instant,
    ) -> Result<ClusterDiff> {
        loop {
            match self.diff(table, deadline) {
                Ok(diff) => {
                    let waiting = done.iter().any(|(topic, what)| diff.has(*topic, what));
                    if !waiting || Instant::now() >= deadline {
                        return Ok(diff);
                    }
                }
                // One broker names the topic and another does not know it yet.
                Err(error) if error.kind() != ErrorKind::UnknownTopic => return Err(error),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {}
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The request that does away with a difference.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    Create,
    Grow,
    Set,
}

impl Request {
    fn of(difference: &Difference) -> Request {
        match difference {
            Difference::Missing { .. } => Request::Create,
            Difference::Partitions { .. } => Request::Grow,
            Difference::ReplicationFactor { .. } | Difference::Config { .. } => Request::Set,
        }
    }
}
