//! Arbitrary events against the `apache-avro` crate: each side reads what the other wrote.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;

use super::{decode, encode};
use crate::events::Topic;

/// The schema, and the same without logical types: of the latter, values are plain.
fn schemas(topic: Topic) -> (Schema, Schema) {
    fn strip(json: &mut serde_json::Value) {
        if let Some(attributes) = json.as_object_mut() {
            attributes.shift_remove("logicalType");
            attributes.values_mut().for_each(strip);
        } else if let Some(items) = json.as_array_mut() {
            items.iter_mut().for_each(strip);
        }
    }
    let mut json = serde_json::from_str(topic.spec().schema_json).unwrap();
    let schema = Schema::parse(&json).unwrap();
    strip(&mut json);
    (schema, Schema::parse(&json).unwrap())
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        4 => "[ -~]{0,40}",
        2 => "\\PC{0,30}",
        1 => "[a-z]{60,70}",
        1 => ("[ -~]{0,300}", "\\PC{0,200}").prop_map(|(start, end)| start + &end),
    ]
    .boxed()
}

fn value(schema: &Schema) -> BoxedStrategy<Value> {
    match schema {
        Schema::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Schema::Int => any::<i32>().prop_map(Value::Int).boxed(),
        Schema::Long => prop_oneof![any::<i64>(), -200..200_i64]
            .prop_map(Value::Long)
            .boxed(),
        Schema::Double => prop::num::f64::NORMAL.prop_map(Value::Double).boxed(),
        Schema::String => text().prop_map(Value::String).boxed(),
        Schema::Enum(schema) => {
            let symbols = schema.symbols.clone();
            (0..symbols.len())
                .prop_map(move |at| Value::Enum(at as u32, symbols[at].clone()))
                .boxed()
        }
        Schema::Array(schema) => vec(value(&schema.items), 0..9)
            .prop_map(Value::Array)
            .boxed(),
        Schema::Map(schema) => hash_map(text(), value(&schema.types), 0..9)
            .prop_map(Value::Map)
            .boxed(),
        Schema::Union(schema) => {
            let something = value(&schema.variants()[1]);
            proptest::option::of(something)
                .prop_map(|value| match value {
                    None => Value::Union(0, Box::new(Value::Null)),
                    Some(value) => Value::Union(1, Box::new(value)),
                })
                .boxed()
        }
        Schema::Record(record) => {
            let fields: Vec<_> = record
                .fields
                .iter()
                .map(|field| {
                    (
                        Just(field.name.clone()),
                        field_value(&field.name, &field.schema),
                    )
                })
                .collect();
            fields
                .prop_map(|fields| Value::Record(treated(fields)))
                .boxed()
        }
        other => unreachable!("the schemas have no {other:?}"),
    }
}

fn field_value(name: &str, schema: &Schema) -> BoxedStrategy<Value> {
    match name {
        "eventId" => {
            let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
            uuid.prop_map(Value::String).boxed()
        }
        // As it stands on the wire, so that it is written as it was read.
        "apiKey" => proptest::option::of("sha256:[0-9a-f]{16}")
            .prop_map(|key| match key {
                None => Value::Union(0, Box::new(Value::Null)),
                Some(key) => Value::Union(1, Box::new(Value::String(key))),
            })
            .boxed(),
        _ => value(schema),
    }
}

/// Masks the values of a `ConfigChangeEvent` as its producer would have.
fn treated(mut fields: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let sensitive = ("sensitive".to_owned(), Value::Boolean(true));
    if fields.contains(&sensitive) {
        for (name, value) in &mut fields {
            if let ("oldValue" | "newValue", Value::Union(1, text)) = (name.as_str(), value) {
                **text = Value::String("***".to_owned());
            }
        }
    }
    fields
}

fn check(topic: Topic, value: Value) -> Result<(), TestCaseError> {
    let (schema, plain) = schemas(topic);
    let writer = GenericDatumWriter::builder(&plain).build().unwrap();
    let theirs = writer.write_value_to_vec(value.clone()).unwrap();

    let event = decode(topic, &theirs);
    let ours = encode(&event, "");
    prop_assert_eq!(&ours, &theirs, "{:?}", event);
    let owned = event.clone().into_owned();
    prop_assert_eq!(&owned, &event);
    prop_assert_eq!(&encode(&owned, ""), &theirs);

    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let read = reader.read_value(&mut ours.as_slice()).unwrap();
    prop_assert_eq!(read, value.resolve(&schema).unwrap());
    Ok(())
}

#[test]
fn each_side_reads_what_the_other_wrote() {
    for topic in Topic::ALL {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: if cfg!(miri) { 2 } else { 100 },
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let (_, plain) = schemas(topic);
        runner
            .run(&value(&plain), |value| check(topic, value))
            .unwrap();
    }
}
