//! What the tests on real services share: settings for the fixtures, the examples of `schemas/`, and
//! reading topics to their end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use carbon_events::codec::{Fill, Rules, event_from_json};
use carbon_events::config::{ConnectionSettings, RegistrySettings, SecurityProtocol};
use carbon_events::producer::EventProducerBuilder;
use carbon_events::{Envelope, Error, ErrorKind, Event, EventConsumer, EventProducer, Topic};
use carbon_events_services::{Kafka, Registry};
use serde_json::Value;

/// Longer than anything takes here, shorter than a person waits.
pub const SOON: Duration = Duration::from_secs(60);

/// Settings for a plaintext listener.
pub fn plain(bootstrap_servers: &str) -> ConnectionSettings {
    ConnectionSettings::new(bootstrap_servers)
        .security_protocol(SecurityProtocol::Plaintext)
        .service_name("tests")
}

/// A producer through the plain listener. Its topics are the table's behind `prefix`, so that the
/// tests of a binary can share one broker.
pub fn producer(kafka: &Kafka, registry: Option<&Registry>, prefix: &str) -> EventProducerBuilder {
    let builder =
        EventProducer::builder().connection(plain(&kafka.bootstrap_servers()).topic_prefix(prefix));
    match registry {
        Some(registry) => builder.schema_registry_url(registry.url()),
        None => builder,
    }
}

/// Makes the topics of all records behind `prefix`.
pub fn create_topics(kafka: &Kafka, prefix: &str) {
    for topic in Topic::ALL {
        let partitions = u16::try_from(topic.spec().partitions).expect("a few partitions");
        kafka
            .create_topic(&format!("{prefix}{topic}"), partitions, &[])
            .expect("a topic");
    }
}

/// A record as it was read, copied out.
#[derive(Debug)]
pub struct Read {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its event, or why there is none.
    pub event: Result<Event<'static>, Error>,
}

impl Read {
    /// Where it is, as a delivery says it.
    pub fn place(&self) -> (&str, i32, i64) {
        (&self.topic, self.partition, self.offset)
    }
}

/// Everything that is in `topics`, read from their beginning through the plain listener.
pub fn read_all(
    kafka: &Kafka,
    registry: Option<&Registry>,
    topics: impl IntoIterator<Item = impl ToString>,
) -> Vec<Read> {
    let mut builder = EventConsumer::builder()
        .connection(plain(&kafka.bootstrap_servers()))
        .topics(topics)
        .standalone()
        .detect_end();
    if let Some(registry) = registry {
        builder = builder.registry(RegistrySettings::new(registry.url()));
    }
    let consumer = builder.build().expect("a consumer");
    read_to_end(&consumer)
}

/// Everything that a consumer with `detect_end` finds.
pub fn read_to_end(consumer: &EventConsumer) -> Vec<Read> {
    let end = Instant::now() + SOON;
    let mut read = Vec::new();
    while !consumer.at_end() {
        assert!(
            Instant::now() < end,
            "not at the end; read {} so far",
            read.len()
        );
        let batch = consumer
            .next_batch(Duration::from_secs(1))
            .expect("reading");
        read.extend(batch.iter().flatten().map(|record| Read {
            topic: record.topic().to_owned(),
            partition: record.partition(),
            offset: record.offset(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            event: record.event().map(Event::into_owned),
        }));
    }
    read
}

/// The error with which reading fails within `timeout`.
pub fn reading_error(consumer: &EventConsumer, timeout: Duration) -> Error {
    let end = Instant::now() + timeout;
    while Instant::now() < end {
        match consumer.next_batch(Duration::from_millis(200)) {
            Ok(batch) => assert!(batch.is_none(), "{batch:?} could be read"),
            Err(error) => return error,
        }
    }
    panic!("reading did not fail within {timeout:?}")
}

/// Asserts an error's kind, showing the whole error where it is another one.
#[track_caller]
pub fn assert_kind(error: &Error, kind: ErrorKind) {
    assert_eq!(error.kind(), kind, "{error}");
}

/// A valid example of `schemas/examples`.
#[derive(Debug, Clone)]
pub struct Example {
    /// The topic of its record.
    pub topic: Topic,
    /// The file's name without its ending.
    pub name: String,
    /// The event as its caller gives it.
    pub event: Event<'static>,
    /// The event as it is written: with its sensitive fields treated.
    pub written: Event<'static>,
    /// The same as JSON, by the Avro names of its fields.
    pub written_json: Value,
    /// Its Avro body, made by another Avro library.
    pub body: Vec<u8>,
}

impl Example {
    /// `DataQualityEvent/typical`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.topic.spec().record, self.name)
    }

    fn read(topic: Topic, path: &Path) -> Example {
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.expect("a file's name").to_owned();
        let golden = schemas().join("golden").join(topic.spec().record);
        let json = read(path);
        let body = read(&golden.join(format!("{name}.avro")));
        let treated = golden.join(format!("{name}.json"));
        let written_json = if treated.exists() {
            read(&treated)
        } else {
            json.clone()
        };
        Example {
            topic,
            event: event(topic, &json),
            written: Event::decode(topic, &body)
                .expect("a golden body")
                .into_owned(),
            written_json: serde_json::from_slice(&written_json).expect("an example in JSON"),
            name,
            body,
        }
    }
}

/// Every valid example of every record.
pub fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for topic in Topic::ALL {
        let dir = schemas()
            .join("examples")
            .join(topic.spec().record)
            .join("valid");
        let files = fs::read_dir(&dir).expect("the examples of a record");
        let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        examples.extend(paths.iter().map(|path| Example::read(topic, path)));
    }
    examples
}

/// The record's `typical` example.
pub fn typical(topic: Topic) -> Example {
    let dir = schemas().join("examples").join(topic.spec().record);
    Example::read(topic, &dir.join("valid/typical.json"))
}

/// An event from JSON, read strictly.
pub fn event(topic: Topic, json: &[u8]) -> Event<'static> {
    let envelope = Envelope::new(topic.spec().record);
    let fill = Fill::from_envelope(&envelope);
    let mut scratch = Vec::new();
    let decoded = event_from_json(topic, json, Rules::Strict, &fill, &mut scratch);
    decoded.expect("a valid example").event.into_owned()
}

/// Bytes that no compression makes smaller, the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(len)
    .collect()
}

/// Whether two JSON values are the same where 1 and 1.0 are: how a library prints a whole double is
/// its own affair.
pub fn same_json(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() != other.is_f64() && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, two)| same_json(one, two))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value): (&String, _)| {
                other.get(name).is_some_and(|two| same_json(value, two))
            };
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

/// The directory of the schemas.
pub fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
