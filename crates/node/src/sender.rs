//! A producer as JavaScript has it.
//!
//! ```text
//!  send(cells) ── room in the queue ──▶ EventProducer, at once, on JavaScript's thread
//!      │ the queue is full, or the producer is not running yet
//!      ▼
//!  backlog ── in order ──▶ feeder: a thread that lives while there is one, and may block
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carbon_events::codec::Rules;
use carbon_events::config::EventFormat;
use carbon_events::sync::{Condvar, Mutex};
use carbon_events::{Delivery, Error, ErrorKind, Result};
use napi::bindgen_prelude::Utf16String;
use napi_derive::napi;
use serde_json::Value;

use crate::cells::{Cells, Text};
use crate::engine::Engine;
use crate::errors::thrown;
use crate::group::Group;
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
    /// Records that were taken, those that wait for room in the queue included.
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

    /// Sends `count` records; with `whole` all of them, or none where one is refused. Returns how many
    /// wait for room in the queue now.
    #[napi(catch_unwind)]
    pub fn send(
        &self,
        cells: &[f64],
        text: Utf16String,
        count: u32,
        group: u32,
        quiet: bool,
        whole: bool,
    ) -> f64 {
        let group = Group::new(group, count, quiet, Arc::clone(&self.post));
        let text = Text::new(&text);
        self.sender.send(cells, text, count, whole, group) as f64
    }

    /// Refuses the JSON of an event that `send` would refuse.
    #[napi(catch_unwind)]
    pub fn check(&self, number: i32, json: String) -> napi::Result<()> {
        let checked = self
            .sender
            .with_json(number, json.as_bytes(), Rules::Strict, |_| Ok(()));
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
        let feeding = {
            let mut state = sender.state.lock();
            state.closed = true;
            state.feeding
        };
        if !feeding && !sender.engine.ends_with_its_owner() && sender.engine.stats().queued == 0 {
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

    /// Whether events are written as JSON.
    #[napi(getter, catch_unwind)]
    pub fn writes_json(&self) -> bool {
        self.sender.json
    }

    /// What became of the records so far.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> Stats {
        let stats = self.sender.engine.stats();
        let waiting = self.sender.state.lock().waiting;
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
    id: u32,
    post: Arc<Post>,
    engine: Engine,
    /// The `source` of events that name none.
    pub(crate) service: String,
    /// The same as a JSON string.
    pub(crate) service_json: String,
    /// Whether the old package's callers are written as JSON, which takes anything.
    json: bool,
    pub(crate) topic_prefix: String,
    close_timeout: Duration,
    max_waiting: u64,
    state: Mutex<State>,
    /// The backlog has become empty.
    fed: Condvar,
}

#[derive(Default)]
struct State {
    backlog: VecDeque<Packed>,
    /// Records in the backlog.
    waiting: u64,
    feeding: bool,
    /// Whether the producer runs: what was sent before started it.
    running: bool,
    closed: bool,
}

/// Records that wait in the backlog.
struct Packed {
    cells: Vec<f64>,
    text: Text,
    /// Where the texts of the first of them begin.
    read: usize,
    next: u32,
    count: u32,
    /// Whether all of them are sent, or none.
    whole: bool,
    group: Arc<Group>,
}

/// How a run of records ended.
struct Run {
    sent: Vec<(u32, Delivery)>,
    refused: Vec<(u32, Error)>,
    /// The first record that found the queue full.
    stopped_at: Option<u32>,
}

impl Sender {
    fn new(post: &Arc<Post>, id: u32, options: &str, old: bool) -> Result<Self> {
        let mut settings = settings::read(options, Client::Producer)?;
        if old {
            settings::old_format(&mut settings);
            settings::check_files(&settings.connection)?;
        }
        let format = settings.producer.event_format(EventFormat::Avro);
        let (connection, producer) = (&settings.connection, &settings.producer);
        Ok(Sender {
            id,
            post: Arc::clone(post),
            service: connection.service_name.clone(),
            service_json: Value::from(connection.service_name.as_str()).to_string(),
            json: format == EventFormat::Json,
            topic_prefix: connection.topic_prefix.clone(),
            close_timeout: producer.close_timeout,
            max_waiting: producer.queue_max_records,
            engine: Engine::new(settings, old)?,
            state: Mutex::default(),
            fed: Condvar::new(),
        })
    }

    fn send(
        self: &Arc<Self>,
        cells: &[f64],
        text: Text,
        count: u32,
        whole: bool,
        group: Arc<Group>,
    ) -> u64 {
        let mut state = self.state.lock();
        let refusal = if state.closed {
            let message = "the producer is closed; make a new one";
            Some(Error::new(ErrorKind::Closed, message))
        } else if state.waiting >= self.max_waiting {
            let message = format!("{} records wait for room in the queue", state.waiting);
            Some(Error::new(ErrorKind::QueueFull, message))
        } else {
            None
        };
        if let Some(error) = refusal {
            let waiting = state.waiting;
            drop(state);
            group.add(Vec::new(), (0..count).map(|i| (i, error.clone())).collect());
            return waiting;
        }
        let (mut from, mut next, mut read) = (0, 0, 0);
        state.running = state.running || self.engine.is_running();
        if state.running && !state.feeding {
            drop(state);
            let mut rest = Cells::new(cells, &text);
            let run = self.run(&mut rest, 0..count, How::Try, whole);
            let stopped_at = run.stopped_at;
            group.add(run.sent, run.refused);
            let Some(stopped_at) = stopped_at else {
                return 0;
            };
            (from, next, read) = (cells.len() - rest.left(), stopped_at, rest.read());
            state = self.state.lock();
        }
        state.waiting += u64::from(count - next);
        state.backlog.push_back(Packed {
            cells: cells[from..].to_vec(),
            text,
            read,
            next,
            count,
            whole,
            group,
        });
        self.feed(&mut state);
        state.waiting
    }

    /// Sees to it that somebody feeds the producer from the backlog.
    fn feed(self: &Arc<Self>, state: &mut State) {
        if state.feeding {
            return;
        }
        state.feeding = true;
        let sender = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("carbon-feeder".to_owned())
            .spawn(move || sender.feed_all());
        if let Err(error) = spawned {
            state.feeding = false;
            let message = "the system gives no thread";
            let error = Error::new(ErrorKind::Internal, message).because(error);
            for packed in state.backlog.drain(..) {
                let refused = (packed.next..packed.count).map(|i| (i, error.clone()));
                packed.group.add(Vec::new(), refused.collect());
            }
            state.waiting = 0;
        }
    }

    fn feed_all(self: &Arc<Self>) {
        let mut running = false;
        loop {
            let packed = {
                let mut state = self.state.lock();
                let Some(packed) = state.backlog.pop_front() else {
                    state.feeding = false;
                    state.running |= running;
                    self.fed.notify_all();
                    drop(state);
                    self.post.room(self.id);
                    return;
                };
                packed
            };
            let mut cells = Cells::resume(&packed.cells, &packed.text, packed.read);
            let records = packed.next..packed.count;
            let count = u64::from(packed.count - packed.next);
            let run = self.run(&mut cells, records, How::Wait, packed.whole);
            running |= !run.sent.is_empty();
            packed.group.add(run.sent, run.refused);
            self.state.lock().waiting -= count;
        }
    }

    /// Sends records one by one, until one finds the queue full and may not wait. Where they are
    /// `whole`, all are checked before the first is sent.
    fn run(&self, cells: &mut Cells<'_>, records: Range<u32>, how: How, whole: bool) -> Run {
        let mut run = Run {
            sent: Vec::with_capacity(records.len()),
            refused: Vec::new(),
            stopped_at: None,
        };
        let refuse_all = |error: Error| {
            records
                .clone()
                .map(|index| (index, error.clone()))
                .collect()
        };
        let producer = match self.engine.producer() {
            Ok(producer) => producer,
            Err(error) => {
                run.refused = refuse_all(error);
                return run;
            }
        };
        let deliver = |cells: &mut Cells<'_>, how| {
            let producer = &producer;
            let (head, mut event) = cells.event()?;
            self.deliver(&head, &mut event, Via { producer, how })
        };
        if whole && records.start == 0 {
            let mut unsent = *cells;
            let checked = records.clone().try_for_each(|_| {
                deliver(&mut unsent, How::Check)?;
                Ok(())
            });
            if let Err(error) = checked {
                run.refused = refuse_all(error);
                return run;
            }
        }
        for index in records {
            let before = *cells;
            match deliver(cells, how) {
                Ok(Some(delivery)) => run.sent.push((index, delivery)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::QueueFull && how == How::Try => {
                    *cells = before;
                    run.stopped_at = Some(index);
                    break;
                }
                Err(error) => run.refused.push((index, error)),
            }
        }
        run
    }

    /// Waits until the backlog is empty.
    fn wait_fed(&self, deadline: Instant) -> Result<()> {
        let mut state = self.state.lock();
        while state.feeding {
            let late;
            (state, late) = self.fed.wait_until(state, deadline);
            if late && state.feeding {
                let message = format!("{} records still wait for room in the queue", state.waiting);
                return Err(Error::new(ErrorKind::Timeout, message).with("records", state.waiting));
            }
        }
        Ok(())
    }

    fn flush(&self, timeout: Duration) -> Result<()> {
        let deadline = deadline(timeout);
        // The producer's own flush keeps records from lingering, which makes room.
        self.wait_fed(deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        self.engine.flush(left)
    }

    fn close(&self, timeout: Duration) -> Result<()> {
        self.state.lock().closed = true;
        let deadline = deadline(timeout);
        let fed = self.wait_fed(deadline);
        let left = deadline.saturating_duration_since(Instant::now());
        let closed = self.engine.close(left);
        fed.and(closed)
    }
}

fn deadline(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + timeout.min(FAR)
}
