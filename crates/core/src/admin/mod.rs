//! Compares the topic table with a cluster, and makes the cluster match.
//!
//! ```text
//! TopicTable --specs--> compare <--state-- the cluster     diff, verify
//!                          |
//!                     differences --> create topics, add partitions, set configs    apply
//!                          |
//!                 wait until the cluster reports the change
//! ```
//!
//! [`Admin::apply`] creates missing topics, adds partitions and sets the configurations of the table
//! (`retention.ms`, `cleanup.policy`, `min.insync.replicas`, `compression.type`). It never deletes a
//! topic or a partition, moves no replicas and changes no other configuration; applying again changes
//! nothing.
//!
//! Adding partitions moves keys to other partitions, so a key's records before and after the change
//! are not ordered: the table's counts are meant to stay.
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

/// The default time limit of a call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often the cluster is polled for a change.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Compares the platform's topics with a cluster's, and creates or updates them. Cheap to clone; all
/// clones share one client.
///
/// Every call has a blocking form and an `_async` form for any executor. A call returns within the
/// [timeout](AdminBuilder::timeout). Its error is of one of these [`ErrorKind`]s: `Unavailable` (no
/// broker is reachable), `Authentication`, `Authorization`, `Timeout`, or `InvalidConfig` (a broker
/// rejects a value of the table).
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

    /// An admin for this cluster. The first call connects.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming the `setting`.
    pub fn new(connection: ConnectionSettings) -> Result<Admin> {
        Self::builder().connection(connection).build()
    }

    /// As [`new`](Self::new), with the settings of the environment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming the `setting`.
    pub fn from_env() -> Result<Admin> {
        Self::new(ConnectionSettings::from_env()?)
    }

    /// How the cluster differs from the table.
    pub fn diff(&self, table: &TopicTable) -> Result<ClusterDiff> {
        self.inner.diff(table, self.inner.deadline())
    }

    /// As [`diff`](Self::diff), for async code.
    pub async fn diff_async(&self, table: &TopicTable) -> Result<ClusterDiff> {
        let table = table.clone();
        self.on_a_thread(move |admin| admin.diff(&table)).await
    }

    /// Checks that the cluster matches the table.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownTopic`] if a topic is missing, [`ErrorKind::InvalidConfig`] if one differs
    /// in another way, both naming the first such `topic`; and those of all calls.
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
             (`carbon-events topics diff` lists all, `carbon-events topics apply` fixes them)",
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

    /// Makes the cluster match the table, without deleting anything, and returns once the cluster
    /// reports the changes.
    ///
    /// A change that a broker rejects is in [`Applied::failed`]; the others are still applied.
    pub fn apply(&self, table: &TopicTable) -> Result<Applied> {
        self.inner.apply(table, self.inner.deadline(), |_| true)
    }

    /// As [`apply`](Self::apply), for async code. Dropping the future does not stop the changes.
    pub async fn apply_async(&self, table: &TopicTable) -> Result<Applied> {
        let table = table.clone();
        self.on_a_thread(move |admin| admin.apply(&table)).await
    }

    /// As [`apply`](Self::apply), but only creates missing topics and does not change existing ones.
    pub fn create_missing(&self, table: &TopicTable) -> Result<Applied> {
        let missing = |difference: &Difference| matches!(difference, Difference::Missing { .. });
        self.inner.apply(table, self.inner.deadline(), missing)
    }

    /// As [`create_missing`](Self::create_missing), for async code. Dropping the future does not stop
    /// the changes.
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

    /// The time limit of each call; 30 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The admin. Its first call connects.
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
    /// The differences that were resolved.
    pub done: Vec<(Topic, Difference)>,
    /// Those whose change a broker rejected, and why.
    pub failed: Vec<(Topic, Difference, Error)>,
    /// How the cluster differs from the table now.
    pub left: ClusterDiff,
}

impl Applied {
    /// The first error of [`failed`](Self::failed), if there is one.
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
        // The timeout is beyond the clock's range.
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

    /// Sends the requests that resolve the differences; returns those that were rejected.
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
                    // Another client created it meanwhile: the next diff shows what is left.
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

    /// Waits until the cluster reports these differences as resolved: brokers learn of a change a moment
    /// after the controller.
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
                // One broker lists the topic and another does not know it yet.
                Err(error) if error.kind() != ErrorKind::UnknownTopic => return Err(error),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {}
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The request that resolves a difference.
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
