//! [`EventProducer`]: what services send with.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;

use super::content::{AnyContent, EncodedContent, JsonContent, RawContent, TypedContent};
use super::delivery::Delivery;
use super::lifecycle::Lifecycle;
use super::record::Outgoing;
use super::settings::ProducerConfig;
use super::shutdown;
use super::stats::ProducerStats;
use super::tally::Owner;
use crate::background::on_a_thread;
use crate::compat::protect_json_but;
use crate::config::EventFormat;
use crate::deadline::Deadline;
use crate::events::{EncodedEvent, Event, TypedEvent, sensitive};
use crate::metrics::Metrics;
use crate::{Error, ErrorKind, Result};

/// Sends events to Kafka. Cheap to clone; clones are one producer, closed with the last of them.
#[derive(Clone)]
pub struct EventProducer {
    lifecycle: Arc<Lifecycle>,
    /// The owner of the records that this clone sends, if they are counted apart.
    owner: Option<Arc<Owner>>,
}

impl EventProducer {
    pub(super) fn new(config: ProducerConfig) -> Self {
        EventProducer {
            lifecycle: Arc::new(Lifecycle::new(config)),
            owner: None,
        }
    }

    /// A clone whose records are counted for `owner`.
    pub(super) fn of(&self, owner: &Arc<Owner>) -> Self {
        EventProducer {
            lifecycle: Arc::clone(&self.lifecycle),
            owner: Some(Arc::clone(owner)),
        }
    }

    #[inline]
    fn outgoing<C>(&self, content: C) -> Outgoing<'_, C> {
        Outgoing::new(&self.lifecycle, self.owner.as_ref(), content)
    }

    /// Sends an event; see [`Outgoing::send`].
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::send`].
    pub fn send<E: TypedEvent>(&self, event: &E) -> Result<Delivery> {
        self.event(event).send()
    }

    /// Sends an event, or fails at once if the queue is full.
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::send`].
    pub fn try_send<E: TypedEvent>(&self, event: &E) -> Result<Delivery> {
        self.event(event).try_send()
    }

    /// Sends an event, waiting without blocking while the queue is full.
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::send`].
    pub async fn send_async<E: TypedEvent>(&self, event: &E) -> Result<Delivery> {
        self.event(event).send_async().await
    }

    /// An event with a key, headers or a partition of the caller's.
    pub fn event<'a, E: TypedEvent>(&'a self, event: &'a E) -> Outgoing<'a, TypedContent<'a, E>> {
        self.outgoing(TypedContent { event })
    }

    /// As [`event`](Self::event), for an event whose type is known only now.
    pub fn any<'a>(&'a self, event: &'a Event<'a>) -> Outgoing<'a, AnyContent<'a>> {
        self.outgoing(AnyContent { event })
    }

    /// As [`event`](Self::event), for one that is encoded already.
    pub fn encoded<'a>(&'a self, event: &'a EncodedEvent) -> Outgoing<'a, EncodedContent<'a>> {
        self.outgoing(EncodedContent { event })
    }

    /// As [`event`](Self::event), for one that is JSON already, and without a key unless one is
    /// given. It is written as it is, neither checked nor changed: the caller protects its sensitive
    /// values ([`protect_json`](crate::compat::protect_json)).
    pub fn event_json<'a>(
        &'a self,
        topic: crate::Topic,
        json: &'a [u8],
    ) -> Outgoing<'a, JsonContent<'a>> {
        let format = self
            .lifecycle
            .config()
            .settings
            .event_format(EventFormat::Avro);
        let framed = format == EventFormat::Json;
        let content = JsonContent {
            topic,
            json,
            framed,
        };
        self.outgoing(content)
    }

    /// A record of raw bytes for any topic; without a value it is a tombstone.
    pub fn raw<'a>(&'a self, topic: &'a str) -> Outgoing<'a, RawContent<'a>> {
        self.outgoing(RawContent { topic, value: None })
    }

    /// A record with a value as JSON, for any topic. Sensitive fields of the platform's records
    /// are protected as in a typed event; see [`protect_json`](crate::compat::protect_json).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEvent`] if `value` cannot be written as JSON (a map whose keys are not
    /// strings, for example).
    pub fn json<'a>(
        &'a self,
        topic: &'a str,
        value: &impl Serialize,
    ) -> Result<Outgoing<'a, RawContent<'a>>> {
        // The sensitive values of typed events within `value` are hashed already.
        let (json, hashes) = sensitive::noting(|| serde_json::to_vec(value));
        let json = json.map_err(|error| {
            Error::new(
                ErrorKind::InvalidEvent,
                format!("the value is no JSON: {error}"),
            )
            .with("topic", topic)
        })?;
        let prefix = &self.lifecycle.config().connection.topic_prefix;
        let protected = protect_json_but(topic, prefix, &json, &hashes).into_owned();
        Ok(self.raw(topic).value(protected))
    }

    /// Starts the producer, as the first send does. It may take some milliseconds, and waits for no
    /// broker.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] for a file that cannot be read, and [`ErrorKind::Closed`].
    pub fn start(&self) -> Result<()> {
        self.lifecycle.session().map(drop)
    }

    /// Starts the producer and blocks until a broker answers. Optional: the first send connects as
    /// well. Call this to fail early when no broker is reachable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] if no broker answers within `timeout`,
    /// [`ErrorKind::Authentication`] as soon as one refuses the login, [`ErrorKind::Closed`].
    pub fn connect(&self, timeout: Duration) -> Result<()> {
        self.lifecycle.connect(timeout)
    }

    /// Whether it was started, by a record, [`start`](Self::start) or [`connect`](Self::connect): then
    /// [`try_send`](Outgoing::try_send) starts nothing.
    pub fn is_running(&self) -> bool {
        let running = self.lifecycle.running();
        running.is_some_and(|session| !session.has_failed())
    }

    /// Blocks until every record that was sent so far is complete, those in line included, without
    /// lingering.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] with the number of `records` that are still incomplete. A failed record
    /// is complete: its [`Delivery`] has its error, and [`stats`](Self::stats) counts it.
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        let owner = self.owner.as_ref().map(|owner| owner.tally());
        let owner = owner.as_deref().map(|tally| &**tally);
        let deadline = Deadline::after(timeout).instant();
        let mut flushed = None;
        while let Some(session) = self.lifecycle.to_flush(flushed) {
            shutdown::flush(&session, owner, deadline)?;
            flushed = Some(session);
        }
        Ok(())
    }

    /// As [`flush`](Self::flush), without blocking the task's thread.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub async fn flush_async(&self, timeout: Duration) -> Result<()> {
        let owner = self.owner.as_ref().map(|owner| Arc::clone(&*owner.tally()));
        let deadline = Deadline::after(timeout).instant();
        let mut flushed = None;
        while let Some(session) = self.lifecycle.to_flush(flushed) {
            shutdown::flush_async(&session, owner.as_deref(), deadline).await?;
            flushed = Some(session);
        }
        Ok(())
    }

    /// Accepts no more records, delivers the accepted ones within `timeout`, and gives up the rest.
    /// Blocks; every later use of any clone fails with [`ErrorKind::Closed`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Aborted`] with the number of `records` that were given up.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.lifecycle.close(timeout)
    }

    /// As [`close`](Self::close), without blocking the task's thread. Closing goes on if the future
    /// is dropped once it was polled.
    ///
    /// # Errors
    ///
    /// Those of [`close`](Self::close).
    pub async fn close_async(&self, timeout: Duration) -> Result<()> {
        self.lifecycle.refuse_all();
        let lifecycle = Arc::clone(&self.lifecycle);
        on_a_thread("carbon-events-close", move || lifecycle.close(timeout)).await?
    }

    /// What became of the records so far.
    pub fn stats(&self) -> ProducerStats {
        if let Some(owner) = &self.owner {
            return owner.stats();
        }
        self.lifecycle.stats()
    }

    /// The metrics that this producer counts into.
    pub fn metrics(&self) -> &Metrics {
        &self.lifecycle.config().metrics
    }

    /// Fails if as many records or bytes are in line as the queue holds: for callers that send on without
    /// waiting for what they sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`].
    pub fn check_line(&self) -> Result<()> {
        match self.lifecycle.running() {
            Some(session) if !session.admission().may_wait() => Err(session.is_full(None, None)),
            _ => Ok(()),
        }
    }

    /// Completes when no record is in line and the queue has capacity, or when the producer is closed:
    /// for senders that hold back what they have until then.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(session) = self.lifecycle.running() else {
            return Poll::Ready(());
        };
        let admission = session.admission();
        if admission.is_ready() {
            return Poll::Ready(());
        }
        admission.line().watch(context.waker());
        if admission.is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    #[cfg(test)]
    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }
}

impl fmt::Debug for EventProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = &self.lifecycle.config().connection.bootstrap_servers;
        f.debug_struct("EventProducer")
            .field("bootstrap_servers", servers)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
