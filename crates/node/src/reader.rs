//! The addon's consumer.
//!
//! ```text
//!  EventConsumer ── batches ──▶ reader thread: decodes, packs ──────▶ up to AHEAD chunks
//!                                                    ▲                 │ mailbox: ready
//!  finish(sequence) ◀── JavaScript ◀── take() ◀─────┼─────────────────┘
//!                            └── give_back(sequence) ─┘
//! ```
//!
//! A chunk is a [`Part`] of its batch. Readers in JavaScript acknowledge chunks in any order; a commit
//! stops at the first record that is not acknowledged. A rebalance waits only for the chunks that
//! JavaScript holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use carbon_events::consumer::Part;
use carbon_events::sync::{Condvar, Mutex};
use carbon_events::{Batch, ErrorKind, EventConsumer, Result};
use napi::bindgen_prelude::{Either, Float64ArraySlice, Latin1String};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::chunk::Chunk;
use crate::errors::{self, thrown};
use crate::mailbox::{Mailbox, Post, in_background};
use crate::sender::duration;
use crate::settings::{self, Client};

/// Chunks that are packed before JavaScript asks for them.
const AHEAD: usize = 3;
/// Limits of a chunk: JavaScript unpacks it in a millisecond, and an event that is kept keeps the texts
/// of its chunk alive.
const CHUNK_RECORDS: u32 = 512;
const CHUNK_BYTES: usize = 128 << 10;
/// How often the reader thread checks whether to end.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// A consumer.
#[napi]
pub struct Consumer {
    reading: Arc<Reading>,
}

/// A chunk of records.
#[napi(object)]
pub struct Taken {
    /// The number by which JavaScript acknowledges or returns it.
    pub sequence: u32,
    /// The number of records.
    pub records: u32,
    /// The texts of all records.
    pub text: Either<Latin1String, String>,
    /// The topics by number, as JSON.
    pub topics: String,
    /// The errors by number, as JSON.
    pub errors: Option<String>,
    /// The number of cells. If the array is smaller, the chunk is not taken.
    pub cells: u32,
}

#[napi]
impl Consumer {
    /// Creates a consumer. `id` is its number in the mailbox.
    #[napi(constructor, catch_unwind)]
    pub fn new(mailbox: &Mailbox, id: u32, options: String) -> napi::Result<Self> {
        let settings =
            settings::read(&options, Client::Consumer, None).map_err(|error| thrown(&error))?;
        let close_timeout = settings.consumer.close_timeout;
        let consumer = EventConsumer::builder().settings(settings).build();
        let reading = Arc::new(Reading {
            id,
            post: Arc::clone(mailbox.post()),
            consumer: consumer.map_err(|error| thrown(&error))?,
            close_timeout,
            state: Mutex::default(),
            taken: Condvar::new(),
        });
        let for_thread = Arc::clone(&reading);
        std::thread::Builder::new()
            .name("carbon-reader".to_owned())
            .spawn(move || for_thread.run())
            .map_err(|error| napi::Error::from_reason(error.to_string()))?;
        Ok(Consumer { reading })
    }

    /// Takes the next chunk and writes its cells into `cells`. Returns `null` if there is none.
    #[napi(catch_unwind)]
    pub fn take(&self, mut cells: Float64ArraySlice<'_>) -> napi::Result<Option<Taken>> {
        // SAFETY: only our JavaScript uses the array, and it does not run meanwhile.
        let cells = unsafe { cells.as_mut() };
        self.reading.take(cells).map_err(|error| thrown(&error))
    }

    /// Whether the end of every assigned partition was reached and every chunk was taken.
    #[napi(catch_unwind)]
    pub fn at_end(&self) -> bool {
        let state = self.reading.state.lock();
        let is_empty = state.ended && state.packed.is_empty();
        drop(state);
        is_empty && self.reading.consumer.at_end()
    }

    /// Acknowledges every record of a chunk.
    #[napi(catch_unwind)]
    pub fn finish(&self, sequence: u32) {
        if let Some(part) = self.reading.end_holding(sequence) {
            part.acknowledge(part.len());
        }
    }

    /// Acknowledges the first `records` of a chunk. The next read returns the others.
    #[napi(catch_unwind)]
    pub fn give_back(&self, sequence: u32, records: u32) {
        if let Some(part) = self.reading.end_holding(sequence) {
            part.acknowledge(records as usize);
            self.reading.give_back(part, records as usize);
        }
    }

    /// Acknowledges the first `records` of a chunk. JavaScript keeps the others.
    #[napi(catch_unwind)]
    pub fn progress(&self, sequence: u32, records: u32) {
        let state = self.reading.state.lock();
        if let Some(held) = state.held.iter().find(|held| held.sequence == sequence) {
            held.part.acknowledge(records as usize);
        }
    }

    /// Commits what is acknowledged and waits for the broker's answer.
    #[napi(catch_unwind)]
    pub fn commit(&self, operation: u32, timeout_ms: f64) {
        let reading = Arc::clone(&self.reading);
        in_background(&self.reading.post, operation, move || {
            let consumer = &reading.consumer;
            consumer.commit_sync(consumer.handled(), duration(timeout_ms))?;
            Ok(Value::Null)
        });
    }

    /// Stops reading, commits what is acknowledged and leaves the group. The default timeout is
    /// `close_timeout_ms`.
    #[napi(catch_unwind)]
    pub fn close(&self, operation: u32, timeout_ms: Option<f64>) {
        let reading = Arc::clone(&self.reading);
        reading.stop();
        in_background(&self.reading.post, operation, move || {
            let timeout = timeout_ms.map_or(reading.close_timeout, duration);
            reading.consumer.close(timeout)?;
            Ok(Value::Null)
        });
    }

    /// The assigned partitions: `[{topic, partition}]` as JSON.
    #[napi(catch_unwind)]
    pub fn assignment(&self) -> String {
        let partitions = self.reading.consumer.assignment();
        let partitions: Vec<_> = partitions
            .iter()
            .map(|partition| json!({"topic": *partition.topic, "partition": partition.partition}))
            .collect();
        Value::from(partitions).to_string()
    }

    /// The consumer's metrics in the Prometheus text format.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> String {
        self.reading.consumer.metrics().to_prometheus()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // JavaScript's thread must not wait for brokers.
        self.reading.stop();
        let reading = Arc::clone(&self.reading);
        let _ = std::thread::Builder::new()
            .name("carbon-close".to_owned())
            .spawn(move || drop(reading));
    }
}

struct Reading {
    id: u32,
    post: Arc<Post>,
    consumer: EventConsumer,
    close_timeout: Duration,
    state: Mutex<State>,
    /// Notified when JavaScript has taken a chunk.
    taken: Condvar,
}

#[derive(Default)]
struct State {
    packed: VecDeque<Result<Packed>>,
    /// Chunks that JavaScript holds.
    held: VecDeque<Held>,
    sequence: u32,
    stopped: bool,
    ended: bool,
}

struct Packed {
    chunk: Chunk,
    part: Part,
}

/// A chunk that JavaScript holds.
struct Held {
    sequence: u32,
    part: Part,
}

impl Reading {
    fn run(&self) {
        loop {
            {
                let mut state = self.state.lock();
                while !state.stopped && state.packed.len() >= AHEAD {
                    state = self.taken.wait(state);
                }
                if state.stopped {
                    return;
                }
            }
            match self.consumer.next_batch(CHECK_INTERVAL) {
                Ok(Some(batch)) => self.pack(batch),
                Ok(None) => {
                    let at_end = self.consumer.at_end();
                    self.state.lock().ended = at_end;
                    // Repeated, because JavaScript may have checked during a rebalance, without an end.
                    if at_end {
                        self.post.ready(self.id);
                    }
                }
                Err(error) => {
                    let over = error.kind() == ErrorKind::Closed;
                    if !over {
                        self.push(Err(error));
                    }
                    if over || self.wait_taken() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until JavaScript has taken an error. Returns whether the consumer was stopped.
    fn wait_taken(&self) -> bool {
        let mut state = self.state.lock();
        while !state.stopped && !state.packed.is_empty() {
            state = self.taken.wait(state);
        }
        state.stopped
    }

    fn pack(&self, batch: Batch) {
        let mut chunks = vec![Chunk::default()];
        for record in &batch {
            if chunks.last().is_none_or(is_full) {
                chunks.push(Chunk::default());
            }
            if let Some(chunk) = chunks.last_mut() {
                chunk.record(&record);
            }
        }
        let mut end = 0;
        let ends = chunks.iter().map(|chunk| {
            let start = end;
            end += chunk.records as usize;
            start..end
        });
        let parts = batch.into_parts(ends.collect::<Vec<_>>());
        self.state.lock().ended = false;
        for (chunk, part) in chunks.into_iter().zip(parts) {
            self.push(Ok(Packed { chunk, part }));
        }
    }

    fn push(&self, packed: Result<Packed>) {
        let mut state = self.state.lock();
        if state.stopped {
            return;
        }
        state.packed.push_back(packed);
        let first = state.packed.len() == 1;
        drop(state);
        if first {
            self.post.ready(self.id);
        }
    }

    /// Inserts the records after the first `done` before the chunks that were fetched later.
    fn give_back(&self, mut part: Part, done: usize) {
        part.leave(done);
        if part.is_empty() {
            return;
        }
        let chunk = packed(&part);
        let mut state = self.state.lock();
        if state.stopped {
            return;
        }
        let is_later =
            |one: &Result<Packed>| one.as_ref().is_ok_and(|one| part.is_before(&one.part));
        let place = state.packed.iter().position(is_later);
        let place = place.unwrap_or(state.packed.len());
        state.packed.insert(place, Ok(Packed { chunk, part }));
    }

    fn take(&self, cells: &mut [f64]) -> Result<Option<Taken>> {
        let mut state = self.state.lock();
        let (chunk, part) = loop {
            let (mut chunk, mut part) = match state.packed.pop_front() {
                None => return Ok(None),
                Some(Ok(Packed { chunk, part })) => (chunk, part),
                Some(Err(error)) => {
                    self.taken.notify_all();
                    return Err(error);
                }
            };
            if chunk.cells.len() > cells.len() {
                let needed = chunk.cells.len() as u32;
                state.packed.push_front(Ok(Packed { chunk, part }));
                return Ok(Some(Taken::nothing(needed)));
            }
            if part.take() {
                chunk = packed(&part);
            }
            if !part.is_empty() {
                break (chunk, part);
            }
            self.taken.notify_all();
        };
        let needed = chunk.cells.len();
        if let Some(target) = cells.get_mut(..needed) {
            target.copy_from_slice(&chunk.cells);
        }
        state.sequence = state.sequence.wrapping_add(1);
        let held = Held {
            sequence: state.sequence,
            part,
        };
        let taken = Taken {
            sequence: held.sequence,
            records: chunk.records,
            topics: Value::from(chunk.topics).to_string(),
            errors: (!chunk.errors.is_empty()).then(|| {
                let errors: Vec<_> = chunk.errors.iter().map(errors::to_json).collect();
                Value::from(errors).to_string()
            }),
            text: if chunk.wide {
                Either::B(chunk.text)
            } else {
                Either::A(Latin1String::from(chunk.text))
            },
            cells: needed as u32,
        };
        state.held.push_back(held);
        drop(state);
        self.taken.notify_all();
        Ok(Some(taken))
    }

    /// Removes a chunk that JavaScript holds.
    fn end_holding(&self, sequence: u32) -> Option<Part> {
        let mut state = self.state.lock();
        let mut held = state.held.iter();
        let place = held.position(|held| held.sequence == sequence)?;
        state.held.remove(place).map(|held| held.part)
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let left = (
            std::mem::take(&mut state.packed),
            std::mem::take(&mut state.held),
        );
        drop(state);
        self.taken.notify_all();
        drop(left);
    }
}

impl Taken {
    /// Not taken: the chunk needs this many cells.
    fn nothing(cells: u32) -> Self {
        Taken {
            sequence: 0,
            records: 0,
            text: Either::B(String::new()),
            topics: String::new(),
            errors: None,
            cells,
        }
    }
}

fn is_full(chunk: &Chunk) -> bool {
    chunk.records >= CHUNK_RECORDS || chunk.text.len() >= CHUNK_BYTES
}

fn packed(part: &Part) -> Chunk {
    let mut chunk = Chunk::default();
    part.iter().for_each(|record| chunk.record(&record));
    chunk
}
