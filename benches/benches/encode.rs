//! An event to its bytes, into a buffer that is used again: `cargo xtask bench encode`.

use std::hint::black_box;

use carbon_events_benches::{Sample, Samples};
use carbon_events_types::TypedEvent;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Serialize;

fn encode<E: TypedEvent, T: Serialize>(c: &mut Criterion, name: &str, sample: &Sample<E, T>) {
    let mut group = c.benchmark_group(format!("encode {name}"));
    group.throughput(Throughput::Bytes(sample.body.len() as u64));
    let mut out = Vec::new();
    group.bench_function("carbon-events", |b| {
        b.iter(|| {
            out.clear();
            black_box(&sample.event).encode("", &mut out);
            black_box(&out);
        });
    });
    let mut fast = sample.codec.fast_encoder();
    group.bench_function("serde_avro_fast", |b| {
        b.iter(|| fast(black_box(&sample.peer), &mut out));
    });
    let serde = sample.codec.serde_encoder();
    group.bench_function("apache-avro, serde", |b| {
        b.iter(|| serde(black_box(&sample.peer), &mut out));
    });
    let value = sample.codec.value_encoder();
    let event = sample.codec.value_decoder()(&sample.body);
    group.bench_function("apache-avro, Value", |b| {
        b.iter(|| value(black_box(&event), &mut out));
    });
    group.bench_function("serde_json", |b| {
        b.iter(|| {
            out.clear();
            serde_json::to_writer(&mut out, black_box(&sample.peer)).expect("it is encodable");
            black_box(&out);
        });
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    let samples = Samples::default();
    encode(c, "small", &samples.small);
    encode(c, "long text", &samples.long_text);
    encode(c, "map of 300", &samples.map);
    encode(c, "array of 100", &samples.array);
}

criterion_group!(benches, all);
criterion_main!(benches);
