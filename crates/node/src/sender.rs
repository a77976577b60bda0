//! The addon's producer.
//!
//! ```text
//!  send(cells) ── records ──▶ EventProducer, on JavaScript's thread. While the queue is full, records
//!      │                      wait in the core.
//!      │ the producer is not started
//!      ▼
//!  unsent calls ── in order ──▶ a thread that starts the producer, sends them and ends
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use carbon_events::compat::config;
use carbon_events::config::EventFormat;
use carbon_events::sync::{Condvar, Mutex};
use carbon_events::{Error, ErrorKind, EventProducer, Result};
use napi::bindgen_prelude::Utf16String;
use napi_derive::napi;
use serde_json::Value;

use crate::cells::{Cells, Text};
use crate::engine::Engine;
use crate::errors::thrown;
use crate::group::{Group, Sent};
use crate::mailbox::{Mailbox, Post, in_background};
use crate::outgoing::{How, Via};
use crate::settings::{self, Client};

/// A producer.
#[napi]
pub struct Producer {
    sender: Arc<Sender>,
    post: Arc<Post>,
}

/// Counts of the records so far.
#[napi(object)]
pub struct Stats {
    /// Accepted records, including those that wait while the queue is full.
    pub accepted: f64,
    /// Records that the broker acknowledged.
    pub delivered: f64,
    /// Records that failed.
    pub failed: f64,
    /// Records in flight.
    pub queued: f64,
}

#[napi]
impl Producer {
    /// Creates a producer. `id` is its number in the mailbox. With `drop_in` it shares an engine and has
    /// the drop-in's default format.
    #[napi(constructor, catch_unwind)]
    pub fn new(mailbox: &Mailbox, id: u32, options: String, drop_in: bool) -> napi::Result<Self> {
        let sender = Sender::new(mailbox.post(), id, &options, drop_in).map_err(|e| thrown(&e))?;
        Ok(Producer {
            sender: Arc::new(sender),
            post: Arc::clone(mailbox.post()),
        })
    }

    /// Sends `count` records; with `whole` all of them, or none if one is invalid. Returns whether the
    /// queue is full. The mailbox reports when it has capacity again.
    #[napi(catch_unwind)]
    pub fn send(
        &self,
        cells: &[f64],
        text: Utf16String,
        count: u32,
        group: u32,
        quiet: bool,
        whole: bool,
    ) -> bool {
        let group = Group::new(group, count, quiet, Arc::clone(&self.post));
        let text = Text::new(&text);
        self.sender.send(cells, text, count, whole, group)
    }

    /// Validates the JSON of an event as `send` does, without sending it.
    #[napi(catch_unwind)]
    pub fn check(&self, number: i32, json: String) -> napi::Result<()> {
        let checked = self
            .sender
            .with_json(number, json.as_bytes(), false, |_| Ok(()));
        checked.map_err(|error| thrown(&error))
    }

    /// Starts the producer and waits until a broker answers.
    #[napi(catch_unwind)]
    pub fn connect(&self, operation: u32, timeout_ms: f64) {
        let sender = Arc::clone(&self.sender);
        in_background(&self.post, operation, move || {
            sender.engine.producer()?.connect(duration(timeout_ms))?;
            Ok(Value::Null)
        });
    }

    /// Waits until every record sent so far is delivered or failed.
    #[napi(catch_unwind)]
    pub fn flush(&self, operation: u32, timeout_ms: f64) {
        let sender = Arc::clone(&self.sender);
        in_background(&self.post, operation, move || {
            sender.flush(duration(timeout_ms))?;
            Ok(Value::Null)
        });
    }

    /// Delivers the accepted records and closes the producer. The default timeout is `close_timeout_ms`.
    #[napi(catch_unwind)]
    pub fn close(&self, operation: u32, timeout_ms: Option<f64>) {
        let sender = Arc::clone(&self.sender);
        let starting = {
            let mut state = sender.state.lock();
            state.closed = true;
            state.starting
        };
        if !starting && !sender.engine.ends_with_its_owner() && sender.engine.stats().queued == 0 {
            // There is nothing to wait for.
            let closed = sender.engine.close(Duration::ZERO);
            self.post.answer(operation, closed.map(|()| Value::Null));
            return;
        }
        in_background(&self.post, operation, move || {
            let timeout = timeout_ms.map_or(sender.close_timeout, duration);
            sender.close(timeout)?;
            Ok(Value::Null)
        });
    }

    /// Like `flush`, but blocks the event loop, at the exit of the process. Returns the number of records
    /// that are left.
    #[napi(catch_unwind)]
    pub fn flush_blocking(&self, timeout_ms: f64) -> f64 {
        // The caller reports the records that are left.
        let _ = self.sender.flush(duration(timeout_ms));
        self.stats().queued
    }

    /// A message for each option that the old package ignores because no setting has its name.
    #[napi(getter, catch_unwind)]
    pub fn unknown_options(&self) -> Vec<String> {
        self.sender.unknown_options.clone()
    }

    /// Whether events are written as JSON.
    #[napi(getter, catch_unwind)]
    pub fn writes_json(&self) -> bool {
        self.sender.json
    }

    /// Counts of the records so far.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> Stats {
        let stats = self.sender.engine.stats();
        let waiting = self.sender.state.lock().unsent_records;
        Stats {
            accepted: (stats.accepted + waiting) as f64,
            delivered: stats.delivered as f64,
            failed: stats.failed as f64,
            queued: (stats.queued + waiting) as f64,
        }
    }

    /// The producer's metrics in the Prometheus text format.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> String {
        self.sender.engine.metrics()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // JavaScript's thread must not wait for brokers.
        let sender = Arc::clone(&self.sender);
        let open = sender.engine.stats().queued > 0 || !sender.state.lock().closed;
        if open && sender.engine.ends_with_its_owner() {
            let _ = std::thread::Builder::new()
                .name("carbon-close".to_owned())
                .spawn(move || drop(sender.close(sender.close_timeout)));
        }
    }
}

pub(crate) fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX)
}

pub(crate) struct Sender {
    engine: Engine,
    /// The default `source` of events.
    pub(crate) service: String,
    /// `service` as a JSON string.
    pub(crate) service_json: String,
    /// Whether events are written as JSON.
    json: bool,
    pub(crate) topic_prefix: String,
    close_timeout: Duration,
    unknown_options: Vec<String>,
    /// Notified when a full queue has capacity again.
    ready: Waker,
    state: Mutex<State>,
    /// Notified when the producer has started.
    started: Condvar,
}

#[derive(Default)]
struct State {
    /// Calls that were made while the producer starts.
    unsent: VecDeque<Packed>,
    unsent_records: u64,
    starting: bool,
    /// Whether the producer has started.
    running: bool,
    closed: bool,
}

/// The records of one call.
struct Packed {
    cells: Vec<f64>,
    text: Text,
    count: u32,
    /// Whether to send all of them or none.
    whole: bool,
    group: Arc<Group>,
}

/// Reports to JavaScript that a producer's queue has capacity again.
struct Ready {
    post: Arc<Post>,
    id: u32,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.post.capacity(self.id);
    }
}

impl Sender {
    fn new(post: &Arc<Post>, id: u32, options: &str, drop_in: bool) -> Result<Self> {
        let mut unknown_options = Vec::new();
        let ignored = drop_in.then_some(&mut unknown_options);
        let mut settings = settings::read(options, Client::Producer, ignored)?;
        if drop_in {
            config::choose_format(&mut settings);
            config::check_files(&settings.connection)?;
        }
        let format = settings.producer.event_format(EventFormat::Avro);
        let (connection, producer) = (&settings.connection, &settings.producer);
        Ok(Sender {
            service: connection.service_name.clone(),
            service_json: Value::from(connection.service_name.as_str()).to_string(),
            json: format == EventFormat::Json,
            topic_prefix: connection.topic_prefix.clone(),
            close_timeout: producer.close_timeout,
            ready: Waker::from(Arc::new(Ready {
                post: Arc::clone(post),
                id,
            })),
            engine: Engine::new(settings, drop_in)?,
            unknown_options,
            state: Mutex::default(),
            started: Condvar::new(),
        })
    }

    /// Sends the records of one call. Returns whether the queue is full.
    fn send(
        self: &Arc<Self>,
        cells: &[f64],
        text: Text,
        count: u32,
        whole: bool,
        group: Arc<Group>,
    ) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            let message = "the producer is closed; create a new one";
            refuse(&group, count, &Error::new(ErrorKind::Closed, message));
            return false;
        }
        state.running = state.running || (!state.starting && self.engine.is_running());
        if state.running {
            drop(state);
            return self.run(Cells::new(cells, &text), count, whole, &group);
        }
        state.unsent_records += u64::from(count);
        state.unsent.push_back(Packed {
            cells: cells.to_vec(),
            text,
            count,
            whole,
            group,
        });
        self.start(&mut state);
        true
    }

    /// Starts the producer on a thread of its own, because that may take time.
    fn start(self: &Arc<Self>, state: &mut State) {
        if state.starting {
            return;
        }
        state.starting = true;
        let sender = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("carbon-start".to_owned())
            .spawn(move || sender.send_unsent());
        if let Err(error) = spawned {
            state.starting = false;
            let message = "cannot spawn the thread that starts the producer";
            let error = Error::new(ErrorKind::Internal, message).because(error);
            for packed in state.unsent.drain(..) {
                refuse(&packed.group, packed.count, &error);
            }
            state.unsent_records = 0;
        }
    }

    fn send_unsent(&self) {
        let started = self.engine.producer().and_then(|producer| producer.start());
        let mut is_full = false;
        loop {
            let packed = {
                let mut state = self.state.lock();
                let Some(packed) = state.unsent.pop_front() else {
                    state.starting = false;
                    state.running = started.is_ok();
                    self.started.notify_all();
                    break;
                };
                packed
            };
            let cells = Cells::new(&packed.cells, &packed.text);
            is_full = self.run(cells, packed.count, packed.whole, &packed.group);
            self.state.lock().unsent_records -= u64::from(packed.count);
        }
        if !is_full {
            self.ready.wake_by_ref();
        }
    }

    /// Sends records one by one. Returns whether the queue is full. With `whole`, validates all of them
    /// before it sends the first.
    fn run(&self, mut cells: Cells<'_>, count: u32, whole: bool, group: &Arc<Group>) -> bool {
        let producer = match self.engine.producer() {
            Ok(producer) => producer,
            Err(error) => {
                refuse(group, count, &error);
                return false;
            }
        };
        if let Err(error) = producer.check_line() {
            refuse(group, count, &error);
            return self.is_full(&producer);
        }
        let deliver = |cells: &mut Cells<'_>, how| {
            let producer = &producer;
            let (head, mut event) = cells.event()?;
            self.deliver(&head, &mut event, Via { producer, how })
        };
        if whole {
            let mut unsent = cells;
            let checked = (0..count).try_for_each(|_| deliver(&mut unsent, How::Check).map(drop));
            if let Err(error) = checked {
                refuse(group, count, &error);
                return false;
            }
        }
        let mut sent = Vec::with_capacity(count as usize);
        let mut refused = Vec::new();
        for index in 0..count {
            match deliver(&mut cells, How::Send) {
                Ok(admission) => sent.extend(admission.map(|one| (index, Sent::new(one)))),
                Err(error) => refused.push((index, error)),
            }
        }
        group.add(sent, refused);
        self.is_full(&producer)
    }

    /// Whether the queue is full. If so, notifies `ready` when it has capacity again.
    fn is_full(&self, producer: &EventProducer) -> bool {
        producer
            .poll_ready(&mut Context::from_waker(&self.ready))
            .is_pending()
    }

    /// Waits until the producer has started and no call is unsent.
    fn wait_started(&self, deadline: Instant) -> Result<()> {
        let mut state = self.state.lock();
        while state.starting {
            let late;
            (state, late) = self.started.wait_until(state, deadline);
            if late && state.starting {
                let message = "the producer has not started yet";
                let error = Error::new(ErrorKind::Timeout, message);
                return Err(error.with("records", state.unsent_records));
            }
        }
        Ok(())
    }

    fn flush(&self, timeout: Duration) -> Result<()> {
        let deadline = deadline(timeout);
        self.wait_started(deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        self.engine.flush(left)
    }

    fn close(&self, timeout: Duration) -> Result<()> {
        self.state.lock().closed = true;
        let deadline = deadline(timeout);
        let started = self.wait_started(deadline);
        let left = || deadline.saturating_duration_since(Instant::now());
        if self.engine.ends_with_its_owner() {
            // Closing rejects the records that wait for capacity, so they are flushed first. The close
            // counts the records that the flush leaves.
            let _ = self.engine.flush(left());
        }
        started.and(self.engine.close(left()))
    }
}

/// Rejects all records of a call.
fn refuse(group: &Arc<Group>, count: u32, error: &Error) {
    let refused = (0..count).map(|index| (index, error.clone()));
    group.add(Vec::new(), refused.collect());
}

fn deadline(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.min(FAR)
}
