//! How many times faster than `serde_avro_fast`, the fastest of the others:
//! `cargo bench -p carbon-events-benches --bench ratios`.
//!
//! On a machine that others use too, a time alone says little. Here the two take turns, a few
//! milliseconds each, and the ratio is the median of the ratios of neighbouring turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

use carbon_events_benches::{Sample, Samples};
use carbon_events_types::TypedEvent;
use carbon_events_types::events::{AuditAPICallEvent, DataIngestionEvent, DataLineageEvent};
use serde::{Deserialize, Serialize};

const TURNS: usize = 201;
const TURN: Duration = Duration::from_millis(2);

fn main() {
    println!(
        "{:32} {:>10} {:>10} {:>7}",
        "ns an event, fastest turn", "ours", "theirs", "ratio"
    );
    let samples = Samples::default();
    both("small", &samples.small);
    both("long text", &samples.long_text);
    both("map of 300", &samples.map);
    both("array of 100", &samples.array);
    read_all_entries(&samples);
    build();
}

fn both<'s, E: TypedEvent, T: Serialize + Deserialize<'s>>(name: &str, sample: &'s Sample<E, T>) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut fast = sample.codec.fast_encoder();
    compare(
        &format!("encode {name}"),
        || {
            ours.clear();
            black_box(&sample.event).encode("", &mut ours);
            black_box(&ours);
        },
        || fast(black_box(&sample.peer), &mut theirs),
    );
    let body = sample.body.as_slice();
    compare(
        &format!("decode {name}"),
        || {
            drop(black_box(
                E::decode(black_box(body)).expect("it is decodable"),
            ))
        },
        || drop(black_box(sample.codec.fast_decode::<T>(black_box(body)))),
    );
}

/// Decoding leaves maps and arrays as they are; here they are looked at too.
fn read_all_entries(samples: &Samples) {
    let (map, array) = (&samples.map, &samples.array);
    compare(
        "decode map, read each entry",
        || {
            let event = DataIngestionEvent::decode(black_box(&map.body)).expect("it is decodable");
            black_box(
                event
                    .metadata
                    .iter()
                    .map(|(key, value)| key.len() + value.len())
                    .sum::<usize>(),
            );
        },
        || {
            drop(black_box(
                map.codec
                    .fast_decode::<carbon_events_benches::Ingestion<&str>>(black_box(&map.body)),
            ))
        },
    );
    compare(
        "decode array, read each item",
        || {
            let event = DataLineageEvent::decode(black_box(&array.body)).expect("it is decodable");
            black_box(
                event
                    .columns
                    .iter()
                    .map(|column| column.source_column.len())
                    .sum::<usize>(),
            );
        },
        || {
            drop(black_box(
                array
                    .codec
                    .fast_decode::<carbon_events_benches::Lineage<&str>>(black_box(&array.body)),
            ))
        },
    );
}

/// Building an event, with a new id and the time, beside the clock alone.
fn build() {
    compare(
        "build small (theirs: the clock)",
        || {
            let event = AuditAPICallEvent::builder()
                .source(black_box("api-gateway"))
                .service(black_box("market-data-service"))
                .endpoint(black_box("/api/v1/markets/power/prices"))
                .method(black_box("GET"))
                .status_code(black_box(200))
                .latency_ms(black_box(37))
                .request_size_bytes(black_box(512))
                .response_size_bytes(black_box(20_480))
                .user_id(black_box("user-12345"))
                .ip_address(black_box("10.42.17.203"))
                .build();
            drop(black_box(event));
        },
        || {
            black_box(std::time::SystemTime::now());
        },
    );
}

/// Runs both in turns and prints the fastest turn of each and the median ratio.
fn compare(name: &str, mut ours: impl FnMut(), mut theirs: impl FnMut()) {
    let (ours_batch, theirs_batch) = (batch(&mut ours), batch(&mut theirs));
    let mut ratios = Vec::with_capacity(TURNS);
    let (mut our_best, mut their_best) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..TURNS {
        let our_ns = turn(ours_batch, &mut ours);
        let their_ns = turn(theirs_batch, &mut theirs);
        ratios.push(their_ns / our_ns);
        our_best = our_best.min(our_ns);
        their_best = their_best.min(their_ns);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "{name:32} {our_best:10.1} {their_best:10.1} {:7.2}",
        ratios[TURNS / 2]
    );
}

/// How many calls fill a turn.
fn batch(call: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    while turn(calls, call) * f64::from(calls) < TURN.as_nanos() as f64 {
        calls *= 2;
    }
    calls
}

/// Nanoseconds a call.
fn turn(calls: u32, call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}
