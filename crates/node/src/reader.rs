//! A consumer as JavaScript has it.
//!
//! ```text
//!  EventConsumer ── batches ──▶ thread of its own: decodes, packs ──▶ up to AHEAD chunks
//!                                                                      │ mailbox: ready
//!  handled(sequence) ◀── JavaScript ◀── take() ◀─────────────────────┘
//! ```
//!
//! A batch stays in hand until JavaScript has said of its last chunk that it is handled, so that
//! nothing is committed that JavaScript has not seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

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
/// The most records of a chunk, and about the most text: what JavaScript unpacks in a millisecond,
/// and what an event that is kept keeps of its neighbours' texts.
const CHUNK_RECORDS: u32 = 512;
const CHUNK_BYTES: usize = 128 << 10;
/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);

/// A consumer.
#[napi]
pub struct Consumer {
    reading: Arc<Reading>,
}

/// A chunk of records.
#[napi(object)]
pub struct Taken {
    /// By which JavaScript says what became of it.
    pub sequence: u32,
    /// How many records it has.
    pub records: u32,
    /// The texts of all of them.
    pub text: Either<Latin1String, String>,
    /// The topics by their numbers, as JSON.
    pub topics: String,
    /// The errors by their numbers, as JSON.
    pub errors: Option<String>,
    /// How many cells are needed; the chunk stays where it is if there were fewer.
    pub cells: u32,
}

#[napi]
impl Consumer {
    /// A consumer with these options. `id` is what the mailbox calls it by.
    #[napi(constructor, catch_unwind)]
    pub fn new(mailbox: &Mailbox, id: u32, options: String) -> napi::Result<Self> {
        let settings =
            settings::read(&options, Client::Consumer).map_err(|error| thrown(&error))?;
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

    /// The next chunk: its cells go into `cells`. `null` where none is there yet.
    #[napi(catch_unwind)]
    pub fn take(&self, mut cells: Float64ArraySlice<'_>) -> napi::Result<Option<Taken>> {
        // SAFETY: the array is our JavaScript's own, and it does not run meanwhile.
        let cells = unsafe { cells.as_mut() };
        self.reading.take(cells).map_err(|error| thrown(&error))
    }

    /// Whether everything has been read that there is, and taken.
    #[napi(catch_unwind)]
    pub fn at_end(&self) -> bool {
        let state = self.reading.state.lock();
        state.ended && state.packed.is_empty()
    }

    /// The first `records` of a chunk are handled; the others go back to the group.
    #[napi(catch_unwind)]
    pub fn handled(&self, sequence: u32, records: u32) {
        self.reading.handled(sequence, records);
    }

    /// The first `records` of a chunk are handled; the others are still in JavaScript's hands.
    #[napi(catch_unwind)]
    pub fn progress(&self, sequence: u32, records: u32) {
        let state = self.reading.state.lock();
        if let Some(held) = state.held.iter().find(|held| held.sequence == sequence) {
            held.acknowledge(records);
        }
    }

    /// Commits what is handled, and waits for the answer.
    #[napi(catch_unwind)]
    pub fn commit(&self, operation: u32, timeout_ms: f64) {
        let reading = Arc::clone(&self.reading);
        in_background(&self.reading.post, operation, move || {
            let consumer = &reading.consumer;
            consumer.commit_sync(consumer.handled(), duration(timeout_ms))?;
            Ok(Value::Null)
        });
    }

    /// Stops reading, commits what is handled and leaves the group: within the setting's time where
    /// none is given.
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

    /// The partitions that are ours now: `[{topic, partition}]` as JSON.
    #[napi(catch_unwind)]
    pub fn assignment(&self) -> String {
        let partitions = self.reading.consumer.assignment();
        let partitions: Vec<_> = partitions
            .iter()
            .map(|partition| json!({"topic": *partition.topic, "partition": partition.partition}))
            .collect();
        Value::from(partitions).to_string()
    }

    /// The consumer's metrics in Prometheus' text format.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> String {
        self.reading.consumer.metrics().to_prometheus()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // On JavaScript's thread, which must not wait for brokers.
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
    /// JavaScript has taken a chunk.
    taken: Condvar,
}

#[derive(Default)]
struct State {
    packed: VecDeque<Result<Packed>>,
    /// Chunks that JavaScript has and has said nothing of.
    held: VecDeque<Held>,
    sequence: u32,
    stopped: bool,
    ended: bool,
}

struct Packed {
    chunk: Chunk,
    held: Held,
}

/// Records of a batch in JavaScript's hands.
struct Held {
    sequence: u32,
    batch: Arc<Mutex<Option<Batch>>>,
    first: usize,
    records: u32,
    last_of_batch: bool,
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
            match self.consumer.next_batch(LOOK) {
                Ok(Some(batch)) => self.pack(batch),
                Ok(None) if self.consumer.at_end() => {
                    let mut state = self.state.lock();
                    if !std::mem::replace(&mut state.ended, true) {
                        drop(state);
                        self.post.ready(self.id);
                    }
                }
                Ok(None) => {}
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

    /// Waits until JavaScript has heard of an error; true where there is to be no more.
    fn wait_taken(&self) -> bool {
        let mut state = self.state.lock();
        while !state.stopped && !state.packed.is_empty() {
            state = self.taken.wait(state);
        }
        state.stopped
    }

    fn pack(&self, batch: Batch) {
        let count = batch.len();
        let shared = Arc::new(Mutex::new(None));
        let mut packed = Vec::new();
        let mut chunk = Chunk::default();
        let mut first = 0;
        for (index, record) in batch.iter().enumerate() {
            chunk.record(&record);
            let last = index + 1 == count;
            if last || chunk.records >= CHUNK_RECORDS || chunk.text.len() >= CHUNK_BYTES {
                let held = Held {
                    sequence: 0,
                    batch: Arc::clone(&shared),
                    first,
                    records: chunk.records,
                    last_of_batch: last,
                };
                first = index + 1;
                let chunk = std::mem::take(&mut chunk);
                packed.push(Packed { chunk, held });
            }
        }
        *shared.lock() = Some(batch);
        self.state.lock().ended = false;
        for chunk in packed {
            self.push(Ok(chunk));
        }
    }

    fn push(&self, packed: Result<Packed>) {
        let mut state = self.state.lock();
        if state.stopped {
            if let Ok(Packed { held, .. }) = packed {
                held.give_back();
            }
            return;
        }
        state.packed.push_back(packed);
        let first = state.packed.len() == 1;
        drop(state);
        if first {
            self.post.ready(self.id);
        }
    }

    fn take(&self, cells: &mut [f64]) -> Result<Option<Taken>> {
        let mut state = self.state.lock();
        let Some(next) = state.packed.pop_front() else {
            return Ok(None);
        };
        let mut packed = match next {
            Ok(packed) => packed,
            Err(error) => {
                self.taken.notify_all();
                return Err(error);
            }
        };
        let chunk = &packed.chunk;
        let needed = chunk.cells.len();
        let Some(room) = cells.get_mut(..needed) else {
            let taken = Taken {
                sequence: 0,
                records: 0,
                text: Either::B(String::new()),
                topics: String::new(),
                errors: None,
                cells: needed as u32,
            };
            state.packed.push_front(Ok(packed));
            return Ok(Some(taken));
        };
        room.copy_from_slice(&chunk.cells);
        state.sequence = state.sequence.wrapping_add(1);
        packed.held.sequence = state.sequence;
        let Packed { chunk, held } = packed;
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

    fn handled(&self, sequence: u32, records: u32) {
        let mut state = self.state.lock();
        let found = state
            .held
            .iter()
            .position(|held| held.sequence == sequence)
            .and_then(|place| state.held.remove(place));
        drop(state);
        if let Some(held) = found {
            held.handled(records);
        }
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let packed = std::mem::take(&mut state.packed);
        let held = std::mem::take(&mut state.held);
        drop(state);
        self.taken.notify_all();
        let packed = packed.into_iter().flatten().map(|packed| packed.held);
        packed.chain(held).for_each(Held::give_back);
    }
}

impl Held {
    /// The first `records` are handled.
    fn acknowledge(&self, records: u32) {
        if let Some(batch) = &*self.batch.lock() {
            for index in self.first..self.first + records as usize {
                if let Some(record) = batch.get(index) {
                    record.acknowledge();
                }
            }
        }
    }

    fn handled(self, records: u32) {
        if records == self.records && self.last_of_batch {
            if let Some(batch) = self.batch.lock().take() {
                batch.acknowledge();
            }
            return;
        }
        self.acknowledge(records);
        if records < self.records {
            self.give_back();
        }
    }

    /// Nobody will handle it here: the group's next reader does.
    fn give_back(self) {
        if let Some(batch) = self.batch.lock().take() {
            batch.abandon();
        }
    }
}
