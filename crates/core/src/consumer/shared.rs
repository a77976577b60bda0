//! What the callers' threads and the consumer's own thread share: the components, and the client
//! until the consumer is closed.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::batch::Batch;
use super::decoders::Decoders;
use super::failures::Failures;
use super::fetch::{Fetch, Found, closed};
use super::fetched::Fetched;
use super::notify::Notify;
use super::position::Offsets;
use super::progress::Progress;
use super::reader_id::ReaderId;
use super::schemas::Schemas;
use crate::config::{ConnectionSettings, ConsumerSettings, TokenProvider};
use crate::deadline::Deadline;
use crate::fork::PerProcess;
use crate::kafka::Handle;
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

pub(super) struct Shared {
    pub(super) settings: ConsumerSettings,
    pub(super) topics: Vec<Arc<str>>,
    pub(super) metrics: Metrics,
    pub(super) tokens: Option<TokenProvider>,
    /// How often a standalone consumer looks for added partitions; `None` for never.
    pub(super) look_every: Option<Duration>,
    pub(super) fetch: Arc<Fetch>,
    pub(super) failures: Arc<Failures>,
    pub(super) notify: Arc<Notify>,
    /// None once the consumer is closed. A forked child does not have librdkafka's threads.
    handle: PerProcess<Mutex<Option<Arc<Handle>>>>,
    /// By when the group is to be left, once the consumer closes.
    closing_by: Mutex<Option<Deadline>>,
}

impl Shared {
    pub(super) fn new(
        handle: Arc<Handle>,
        settings: ConsumerSettings,
        connection: ConnectionSettings,
        registry: Option<SchemaRegistry>,
        metrics: Metrics,
        tokens: Option<TokenProvider>,
        look_every: Option<Duration>,
    ) -> Self {
        let notify = Arc::new(Notify::default());
        let failures = Arc::new(Failures::new(
            settings.unreachable_after,
            Arc::clone(&notify),
        ));
        let fetch = Fetch::new(
            &handle,
            &settings,
            connection,
            metrics.clone(),
            Decoders::new(Schemas::new(registry)),
            Arc::clone(&failures),
            Arc::clone(&notify),
        );
        let topics = settings.topics.iter();
        Shared {
            topics: topics.map(|topic| Arc::from(topic.as_str())).collect(),
            settings,
            metrics,
            tokens,
            look_every,
            fetch: Arc::new(fetch),
            failures,
            notify,
            handle: PerProcess::new(Mutex::new(Some(handle))),
            closing_by: Mutex::default(),
        }
    }

    pub(super) fn progress(&self) -> &Progress {
        self.fetch.progress()
    }

    /// The running client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`], also in a forked child.
    pub(super) fn handle(&self) -> Result<Arc<Handle>> {
        let Some(handle) = self.handle.get() else {
            let message = "the consumer belongs to the parent process; create one after the fork";
            return Err(Error::new(ErrorKind::Closed, message));
        };
        handle.lock().clone().ok_or_else(closed)
    }

    /// Whether this process is a forked child of the one that created the consumer.
    pub(super) fn is_forked(&self) -> bool {
        self.handle.get().is_none()
    }

    /// Waits for the next batch for a reader until `deadline`. Returns `None` then, or at the end.
    /// Acknowledges what the reader received and dropped before.
    pub(super) fn wait_next(&self, reader: &ReaderId, deadline: Deadline) -> Result<Option<Batch>> {
        self.progress().acknowledge_released(reader);
        loop {
            let seen = self.notify.count();
            match self.take()? {
                Found::Records(fetched) => return Ok(Some(self.batch(fetched, reader))),
                Found::End => return Ok(None),
                Found::Nothing => {}
            }
            if !self.notify.wait(seen, deadline) {
                return Ok(None);
            }
        }
    }

    /// As [`wait_next`](Self::wait_next), for a task. Sets `waits` while the task waits; the first
    /// poll acknowledges, so that what the task receives meanwhile is not acknowledged by this read.
    pub(super) fn poll_next(
        &self,
        reader: &ReaderId,
        waits: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Batch>>> {
        if !std::mem::replace(waits, true) {
            self.progress().acknowledge_released(reader);
        }
        loop {
            let seen = self.notify.count();
            let next = match self.take() {
                Ok(Found::Records(fetched)) => Ok(Some(self.batch(fetched, reader))),
                Ok(Found::End) => Ok(None),
                Ok(Found::Nothing) if self.notify.register(seen, cx.waker()) => {
                    return Poll::Pending;
                }
                Ok(Found::Nothing) => continue,
                Err(error) => Err(error),
            };
            *waits = false;
            return Poll::Ready(next);
        }
    }

    /// Takes what is there, without waiting.
    fn take(&self) -> Result<Found> {
        self.failures.check()?;
        if self.is_forked() {
            self.handle()?;
        }
        self.fetch.take()
    }

    fn batch(&self, fetched: Fetched, reader: &ReaderId) -> Batch {
        Batch::new(fetched, Arc::clone(&self.fetch), reader.clone())
    }

    /// Stores what is acknowledged for the next automatic commit.
    pub(super) fn store_acknowledged(&self, handle: &Handle) {
        if !self.settings.auto_commit || self.settings.standalone {
            return;
        }
        let moved = self.progress().take_unstored();
        if !moved.is_empty() {
            handle.store_offsets(&Offsets::from(moved).to_list());
        }
    }

    /// Ends reading; the consumer's thread leaves the group by `deadline`.
    pub(super) fn begin_closing(&self, deadline: Deadline) {
        *self.closing_by.lock() = Some(deadline);
        self.progress().notify();
        self.fetch.close();
    }

    pub(super) fn closing_by(&self) -> Option<Deadline> {
        *self.closing_by.lock()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing_by().is_some()
    }

    /// The group is left: librdkafka's client ends with the last batch.
    pub(super) fn finish_closing(&self) {
        let handle = self.handle.get().and_then(|handle| handle.lock().take());
        drop(handle);
    }

    /// The consumer's thread has ended, for whatever reason: no read may wait for it any more.
    pub(super) fn thread_ended(&self) {
        if !self.is_over() {
            let message = "the consumer's thread has ended; create a new consumer";
            let error = Error::new(ErrorKind::Internal, message);
            self.failures.report_fatal(error);
        }
    }

    /// Whether no more records come.
    pub(super) fn is_over(&self) -> bool {
        self.is_closing() || self.failures.is_fatal()
    }
}
