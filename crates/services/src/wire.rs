//! The few Kafka requests that running a cluster needs, written by hand so that this crate does
//! not depend on a client library: is every broker there, are the replicas in sync, make a topic,
//! allow a user to read.
//!
//! All are versions that Kafka 4 still takes and that come before the compact encodings: big-endian
//! numbers, strings with an `i16` length, arrays with an `i32` count.
//! Layouts: <https://kafka.apache.org/protocol#protocol_messages>.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const METADATA: (i16, i16) = (3, 5);
const CREATE_TOPICS: (i16, i16) = (19, 4);
const CREATE_ACLS: (i16, i16) = (30, 1);

/// A broker that does not answer within this time counts as not ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the controller may take to make a topic.
const CREATE_WITHIN: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 16 << 20;

/// What one broker knows of its cluster.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) brokers: usize,
    pub(crate) topics: Vec<Topic>,
}

/// A topic's partitions, in no order.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: Vec<Partition>,
}

/// One partition's replicas.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: i32,
    pub(crate) replicas: usize,
    pub(crate) in_sync: usize,
}

/// Asks the broker at `address` for the cluster's brokers and all partitions.
pub(crate) fn metadata(address: SocketAddr) -> Result<Metadata> {
    // A null array of topics means all of them.
    let body = Body::default().i32(-1).bool(false);
    let answer = call(address, METADATA, body, ANSWER_WITHIN)?;
    let mut answer = Answer(&answer);
    answer.i32()?; // throttle time
    let brokers = answer.array(|broker| {
        broker.i32()?; // node id
        broker.string()?; // host
        broker.i32()?; // port
        broker.string().map(drop) // rack
    })?;
    answer.string()?; // cluster id
    answer.i32()?; // controller
    let topics = answer.array(|topic| {
        topic.i16()?; // error
        let name = topic.string()?.unwrap_or_default();
        topic.u8()?; // internal
        let partitions = topic.array(|partition| {
            partition.i16()?; // error
            partition.i32()?; // index
            let leader = partition.i32()?;
            let replicas = partition.array(Answer::i32)?.len();
            let in_sync = partition.array(Answer::i32)?.len();
            partition.array(Answer::i32)?; // offline replicas
            Ok(Partition {
                leader,
                replicas,
                in_sync,
            })
        })?;
        Ok(Topic { name, partitions })
    })?;
    Ok(Metadata {
        brokers: brokers.len(),
        topics,
    })
}

/// Makes a topic; the controller may still be telling the brokers when this returns.
pub(crate) fn create_topic(
    address: SocketAddr,
    name: &str,
    partitions: i32,
    replicas: i16,
    properties: &[(&str, &str)],
) -> Result<()> {
    let mut body = Body::default()
        .i32(1)
        .string(name)
        .i32(partitions)
        .i16(replicas)
        .i32(0) // assignments
        .i32(properties.len() as i32);
    for (property, value) in properties {
        body = body.string(property).string(value);
    }
    let body = body.i32(CREATE_WITHIN.as_millis() as i32).bool(false);
    let answer = call(address, CREATE_TOPICS, body, CREATE_WITHIN + ANSWER_WITHIN)?;
    let mut answer = Answer(&answer);
    answer.i32()?; // throttle time
    answer.array(|topic| {
        let name = topic.string()?.unwrap_or_default();
        let error = topic.i16()?;
        let message = topic.string()?.unwrap_or_default();
        ensure!(
            error == 0,
            "topic {name} refused with Kafka error {error}: {message}"
        );
        Ok(())
    })?;
    Ok(())
}

/// Lets `principal` (such as `User:CN=reader`) read every topic and join every group.
pub(crate) fn allow_reading(address: SocketAddr, principal: &str) -> Result<()> {
    const TOPIC: i8 = 2;
    const GROUP: i8 = 3;
    const LITERAL: i8 = 3;
    const READ: i8 = 3;
    const DESCRIBE: i8 = 8;
    const ALLOW: i8 = 3;
    let rules = [
        (TOPIC, READ),
        (TOPIC, DESCRIBE),
        (GROUP, READ),
        (GROUP, DESCRIBE),
    ];
    let mut body = Body::default().i32(rules.len() as i32);
    for (resource, operation) in rules {
        body = body
            .i8(resource)
            .string("*")
            .i8(LITERAL)
            .string(principal)
            .string("*") // host
            .i8(operation)
            .i8(ALLOW);
    }
    let answer = call(address, CREATE_ACLS, body, ANSWER_WITHIN)?;
    let mut answer = Answer(&answer);
    answer.i32()?; // throttle time
    answer.array(|rule| {
        let error = rule.i16()?;
        let message = rule.string()?.unwrap_or_default();
        ensure!(
            error == 0,
            "access rule refused with Kafka error {error}: {message}"
        );
        Ok(())
    })?;
    Ok(())
}

fn call(
    address: SocketAddr,
    (api, version): (i16, i16),
    body: Body,
    answer_within: Duration,
) -> Result<Vec<u8>> {
    const CORRELATION_ID: i32 = 254;
    let message = Body::default()
        .i16(api)
        .i16(version)
        .i32(CORRELATION_ID)
        .string("carbon-events-services")
        .bytes(&body.0);
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)
        .with_context(|| format!("cannot connect to the broker at {address}"))?;
    stream.set_read_timeout(Some(answer_within))?;
    stream.write_all(&(message.0.len() as i32).to_be_bytes())?;
    stream.write_all(&message.0)?;

    let mut length = [0; 4];
    stream
        .read_exact(&mut length)
        .context("the broker does not answer")?;
    let length = u32::from_be_bytes(length) as usize;
    ensure!(
        (4..LARGEST_ANSWER).contains(&length),
        "an answer of {length} bytes"
    );
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    ensure!(
        answer.starts_with(&CORRELATION_ID.to_be_bytes()),
        "an answer to another request"
    );
    Ok(answer.split_off(4))
}

/// A request's bytes, written in order.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    fn i8(self, value: i8) -> Self {
        self.bytes(&value.to_be_bytes())
    }
    fn bool(self, value: bool) -> Self {
        self.i8(i8::from(value))
    }
    fn i16(self, value: i16) -> Self {
        self.bytes(&value.to_be_bytes())
    }
    fn i32(self, value: i32) -> Self {
        self.bytes(&value.to_be_bytes())
    }
    fn string(self, value: &str) -> Self {
        self.i16(value.len() as i16).bytes(value.as_bytes())
    }
}

/// The rest of an answer, read in order.
struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, rest)) = self.0.split_first_chunk::<N>() else {
            bail!("the broker's answer ends early")
        };
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8> {
        Ok(self.take::<1>()?[0])
    }
    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }
    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }
    fn string(&mut self) -> Result<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        let Some((head, rest)) = self.0.split_at_checked(length) else {
            bail!("the broker's answer ends early")
        };
        self.0 = rest;
        Ok(Some(String::from_utf8_lossy(head).into_owned()))
    }
    fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.i32()?;
        (0..count).map(|_| item(self)).collect()
    }
}
