//! What several tests read from `schemas/`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::avro::Schema;
use crate::codec::reader::EventReader;
use crate::codec::{Fill, Rules, json};
use crate::events::{Event, Topic};

/// A file or folder in `schemas/`.
pub(crate) fn path(name: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../schemas")
        .join(name)
}

pub(crate) fn read(name: impl AsRef<Path>) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn read_json(name: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&read(name)).unwrap()
}

pub(crate) fn schema(name: impl AsRef<Path>) -> Schema {
    Schema::parse(str::from_utf8(&read(name)).unwrap()).unwrap()
}

/// What is in a folder, in order.
pub(crate) fn entries(name: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = fs::read_dir(path(name)).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// The topic of a record.
pub(crate) fn topic_of(record: &str) -> Topic {
    let topic = Topic::ALL
        .into_iter()
        .find(|topic| topic.spec().record == record);
    topic.unwrap_or_else(|| panic!("{record} is on no topic"))
}

/// What stands in envelopes that are not complete.
pub(crate) const FILL: Fill<'_> = Fill {
    event_id: "01890a5d-ac96-774b-bcce-b302099a8057",
    timestamp_ms: 1_700_000_000_000,
    source: "filled",
};

/// An event that is written as JSON with the names of its schema.
pub(crate) fn event_from_json(topic: Topic, json: &Value) -> Event<'static> {
    let mut body = Vec::new();
    let shape = &EventReader::of(topic).unwrap().shape;
    let json = json.to_string();
    json::read(shape, json.as_bytes(), Rules::Strict, &FILL, &mut body).unwrap();
    let event = Event::decode(topic, &body).unwrap();
    event.into_given().into_owned()
}
