//! A producer as JavaScript has it.
//!
//! ```text
//!  send(cells) ── records ──▶ EventProducer, at once, on JavaScript's thread; what finds the queue full
//!      │                      is in the library's line
//!      │ the producer does not run yet
//!      ▼
//!  unsent calls ── in order ──▶ the thread that starts it, and ends then
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
use crate::group::{Fate, Group};
use crate::mailbox::{Mailbox, Post, in_background};
use crate::outgoing::{How, Via};
use crate::settings::{self, Client};

/// A producer.
#[napi]
pub struct Producer {
    sender: Arc<Sender>,
    post: Arc<Post>,
}

/// What became of the records so far.
#[napi(object)]
pub struct Stats {
    /// Records that were taken, those in line for a full queue included.
    pub accepted: f64,
    /// Records that the brokers acknowledged.
    pub delivered: f64,
    /// Records that ended in an error.
    pub failed: f64,
    /// Records on their way.
    pub queued: f64,
}

#[napi]
impl Producer {
    /// A producer with these options. `id` is what the mailbox calls it by; `old` makes it write
    /// what the old package's methods write.
    #[napi(constructor, catch_unwind)]
    pub fn new(mailbox: &Mailbox, id: u32, options: String, old: bool) -> napi::Result<Self> {
        let sender = Sender::new(mailbox.post(), id, &options, old).map_err(|e| thrown(&e))?;
        Ok(Producer {
            sender: Arc::new(sender),
            post: Arc::clone(mailbox.post()),
        })
    }

    /// Sends `count` records; with `whole` all of them, or none where one is refused. Returns
    /// whether the queue is full now; the mailbox tells when it is not any more.
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

    /// Refuses the JSON of an event that `send` would refuse.
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

    /// Waits until all records so far are settled.
    #[napi(catch_unwind)]
    pub fn flush(&self, operation: u32, timeout_ms: f64) {
        let sender = Arc::clone(&self.sender);
        in_background(&self.post, operation, move || {
            sender.flush(duration(timeout_ms))?;
            Ok(Value::Null)
        });
    }

    /// Delivers what was taken, and ends the producer: within the setting's time where none is given.
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

    /// As `flush`, blocking the event loop: for the process' last moments. Gives what is left.
    #[napi(catch_unwind)]
    pub fn flush_blocking(&self, timeout_ms: f64) -> f64 {
        // What is left is counted, and told by the caller.
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

    /// What became of the records so far.
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

    /// The producer's metrics in Prometheus' text format.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> String {
        self.sender.engine.metrics()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // On JavaScript's thread, which must not wait for brokers.
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
    /// The `source` of events that name none.
    pub(crate) service: String,
    /// The same as a JSON string.
    pub(crate) service_json: String,
    /// Whether the old package's callers are written as JSON, which takes anything.
    json: bool,
    pub(crate) topic_prefix: String,
    close_timeout: Duration,
    unknown_options: Vec<String>,
    /// Woken when a full queue has capacity again.
    ready: Waker,
    state: Mutex<State>,
    /// The producer has started.
    started: Condvar,
}

#[derive(Default)]
struct State {
    /// Calls that came while the producer starts.
    unsent: VecDeque<Packed>,
    unsent_records: u64,
    starting: bool,
    /// Whether the producer runs: what was sent before started it.
    running: bool,
    closed: bool,
}

/// The records of one call.
struct Packed {
    cells: Vec<f64>,
    text: Text,
    count: u32,
    /// Whether all of them are sent, or none.
    whole: bool,
    group: Arc<Group>,
}

/// Tells JavaScript that a producer's queue has capacity again.
struct Ready {
    post: Arc<Post>,
    id: u32,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.post.room(self.id);
    }
}

impl Sender {
    fn new(post: &Arc<Post>, id: u32, options: &str, old: bool) -> Result<Self> {
        let mut unknown_options = Vec::new();
        let ignored = old.then_some(&mut unknown_options);
        let mut settings = settings::read(options, Client::Producer, ignored)?;
        if old {
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
            engine: Engine::new(settings, old)?,
            unknown_options,
            state: Mutex::default(),
            started: Condvar::new(),
        })
    }

    /// Sends the records of one call; whether the queue is full now.
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

    /// Starts the producer on a thread of its own: it may take time.
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

    /// Sends records one by one; whether the queue is full then. Where they are `whole`, all are checked
    /// before the first is sent.
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
                Ok(admission) => sent.extend(admission.map(|one| (index, Fate::of(one)))),
                Err(error) => refused.push((index, error)),
            }
        }
        group.add(sent, refused);
        self.is_full(&producer)
    }

    /// Whether the queue is full: then `ready` is woken when it is not any more.
    fn is_full(&self, producer: &EventProducer) -> bool {
        producer
            .poll_ready(&mut Context::from_waker(&self.ready))
            .is_pending()
    }

    /// Waits until nothing is unsent.
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
            // Records in line are delivered as well; closing alone would refuse them. What a flush in
            // vain leaves, closing counts.
            let _ = self.engine.flush(left());
        }
        started.and(self.engine.close(left()))
    }
}

/// Refuses all records of a call.
fn refuse(group: &Arc<Group>, count: u32, error: &Error) {
    let refused = (0..count).map(|index| (index, error.clone()));
    group.add(Vec::new(), refused.collect());
}

fn deadline(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.min(FAR)
}
