//! An event from its bytes: `cargo xtask bench decode`.

use std::hint::black_box;

use carbon_events_benches::{Access, Call, Ingestion, Lineage, Sample, Samples};
use carbon_events_types::TypedEvent;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `O` is the event as serde gives it with text of its own, `T` with text of the body's.
fn decode<'s, E, T, O>(c: &mut Criterion, name: &str, sample: &'s Sample<E, T>)
where
    E: TypedEvent,
    T: Deserialize<'s>,
    O: DeserializeOwned,
{
    let mut group = c.benchmark_group(format!("decode {name}"));
    group.throughput(Throughput::Bytes(sample.body.len() as u64));
    let body = sample.body.as_slice();
    group.bench_function("carbon-events", |b| {
        b.iter(|| E::decode(black_box(body)).expect("it is decodable"));
    });
    group.bench_function("carbon-events, owned", |b| {
        b.iter(|| {
            E::decode(black_box(body))
                .expect("it is decodable")
                .into_owned()
        });
    });
    group.bench_function("serde_avro_fast", |b| {
        b.iter(|| sample.codec.fast_decode::<T>(black_box(body)));
    });
    group.bench_function("serde_avro_fast, owned", |b| {
        b.iter(|| sample.codec.fast_decode::<O>(black_box(body)));
    });
    let serde = sample.codec.serde_decoder::<O>();
    group.bench_function("apache-avro, serde", |b| b.iter(|| serde(black_box(body))));
    let value = sample.codec.value_decoder();
    group.bench_function("apache-avro, Value", |b| b.iter(|| value(black_box(body))));
    group.bench_function("serde_json", |b| {
        b.iter(|| serde_json::from_slice::<T>(black_box(&sample.json)).expect("it is decodable"));
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    let samples = Samples::default();
    decode::<_, _, Call<String>>(c, "small", &samples.small);
    decode::<_, _, Access<String>>(c, "long text", &samples.long_text);
    decode::<_, _, Ingestion<String>>(c, "map of 300", &samples.map);
    decode::<_, _, Lineage<String>>(c, "array of 100", &samples.array);
}

criterion_group!(benches, all);
criterion_main!(benches);
