//! Compares the events that were read with those that were sent.

use carbon_events::consumer::Record;
use carbon_events::{Event, Topic};

use super::events::Events;

/// How many differences are described; all are counted.
const DESCRIBED: usize = 5;

/// The events read so far.
pub(super) struct Check {
    events: Events,
    /// A bit for each event that was read.
    seen: Vec<u64>,
    pub(super) unique: u64,
    pub(super) duplicates: u64,
    pub(super) wrong: u64,
    pub(super) topics: [Tally; Topic::ALL.len()],
    /// Descriptions of the first differences.
    pub(super) faults: Vec<String>,
    topic_prefix: String,
    scratch: Vec<u8>,
}

/// The events read from a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

impl Check {
    pub(super) fn new(events: Events, count: u64, topic_prefix: String) -> Self {
        Check {
            events,
            seen: vec![0; count.div_ceil(64) as usize],
            unique: 0,
            duplicates: 0,
            wrong: 0,
            topics: [Tally::default(); Topic::ALL.len()],
            faults: Vec::new(),
            topic_prefix,
            scratch: Vec::new(),
        }
    }

    /// Checks a record; returns its event's number if it is one of this run.
    pub(super) fn record(&mut self, record: &Record<'_>) -> Option<u64> {
        let place = || {
            format!(
                "{}-{}@{}",
                record.topic(),
                record.partition(),
                record.offset()
            )
        };
        let event = match record.event() {
            Ok(event) => event,
            Err(error) => {
                self.fault(format!("{} is undecodable: {}", place(), error.message()));
                return None;
            }
        };
        // Other producers may use the topics, too.
        let index = self.events.index(event.envelope().event_id.as_str())?;
        let (word, bit) = ((index / 64) as usize, 1_u64 << (index % 64));
        let Some(word) = self.seen.get_mut(word) else {
            self.fault(format!("{} is event {index}, which was not sent", place()));
            return None;
        };
        if *word & bit != 0 {
            self.duplicates += 1;
            return None;
        }
        *word |= bit;
        self.unique += 1;
        let tally = &mut self.topics[event.topic() as usize];
        tally.events += 1;
        tally.bytes += record.value().map_or(0, |value| value.len() as u64);
        if let Some(what) = self.difference(&event, index, record) {
            self.fault(format!("{} (event {index}): {what}", place()));
        }
        Some(index)
    }

    /// How an event differs from the one sent, with sensitive fields protected.
    fn difference(&mut self, found: &Event<'_>, index: u64, record: &Record<'_>) -> Option<String> {
        let Ok(sent) = self.events.event(index) else {
            return Some("the event cannot be built again".to_owned());
        };
        if record.topic().strip_prefix(&*self.topic_prefix) != Some(sent.topic().name()) {
            return Some(format!("belongs on {}", sent.topic()));
        }
        self.scratch.clear();
        sent.write_key("", &mut self.scratch);
        if record.key() != Some(&self.scratch) {
            return Some("has another key".to_owned());
        }
        self.scratch.clear();
        sent.encode("", &mut self.scratch);
        match Event::decode(sent.topic(), &self.scratch) {
            Ok(expected) if expected == *found => None,
            _ => Some("has another content".to_owned()),
        }
    }

    fn fault(&mut self, what: String) {
        self.wrong += 1;
        if self.faults.len() < DESCRIBED {
            self.faults.push(what);
        }
    }
}
