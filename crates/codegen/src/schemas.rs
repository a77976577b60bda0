//! Reading `schemas/`: the topic table and one Avro schema a record.
//!
//! apache-avro parses each schema first, so that a mistake in the Avro itself has the message of an
//! Avro library. The attributes of our own (`sensitive`, `minimum`, …) are then read from the JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use apache_avro::rabin::Rabin;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{
    Action, CleanupPolicy, Default, Enum, Event, Field, Group, Key, KeyPart, Model, Plain, Record,
    Sensitive, Topic, Type,
};

/// The fields that every event begins with, and their types without attributes.
const ENVELOPE: [(&str, &str); 7] = [
    ("eventId", r#""string""#),
    ("eventType", r#""string""#),
    ("timestamp", r#""long""#),
    ("source", r#""string""#),
    ("version", r#""string""#),
    ("correlationId", r#"["null","string"]"#),
    ("causationId", r#"["null","string"]"#),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TopicTable {
    defaults: TopicDefaults,
    topics: Vec<TopicRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TopicDefaults {
    replication_factor: i32,
    min_insync_replicas: i32,
    compression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TopicRow {
    topic: String,
    record: String,
    partitions: i32,
    retention_ms: u64,
    cleanup_policy: String,
    key: String,
    owner: String,
    group: String,
    replication_factor: Option<i32>,
    min_insync_replicas: Option<i32>,
    compression: Option<String>,
}

/// Reads the directory.
pub(crate) fn read(directory: &Path) -> Result<Model> {
    let path = directory.join("topics.json");
    let text = read_file(&path)?;
    let table: TopicTable =
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let mut enums = Vec::new();
    let mut topics: Vec<Topic> = Vec::new();
    for row in table.topics {
        let topic = topic(directory, &table.defaults, row, &mut enums)?;
        for other in &topics {
            ensure!(
                other.name != topic.name,
                "topic {} stands twice in the table",
                topic.name
            );
            ensure!(
                other.event.record.name != topic.event.record.name,
                "{} is the record of two topics",
                topic.event.record.name
            );
        }
        topics.push(topic);
    }
    Ok(Model { topics, enums })
}

fn read_file(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn topic(
    directory: &Path,
    defaults: &TopicDefaults,
    row: TopicRow,
    enums: &mut Vec<Enum>,
) -> Result<Topic> {
    let file = format!("{}.avsc", row.record);
    let text = read_file(&directory.join(&file))?;
    let event = event(&row.record, file, &text, enums)
        .with_context(|| format!("schemas/{}.avsc", row.record))?;
    let in_table = || format!("schemas/topics.json: topic {}", row.topic);
    Ok(Topic {
        key: key(&row.key, &event.record).with_context(in_table)?,
        cleanup_policy: match row.cleanup_policy.as_str() {
            "delete" => CleanupPolicy::Delete,
            "compact" => CleanupPolicy::Compact,
            "compact,delete" => CleanupPolicy::CompactAndDelete,
            other => bail!("{}: cleanupPolicy {other:?} is unknown", in_table()),
        },
        group: match row.group.as_str() {
            "data" => Group::Data,
            "system" => Group::System,
            "audit" => Group::Audit,
            other => bail!("{}: group {other:?} is unknown", in_table()),
        },
        name: row.topic,
        event,
        partitions: row.partitions,
        replication_factor: row
            .replication_factor
            .unwrap_or(defaults.replication_factor),
        min_insync_replicas: row
            .min_insync_replicas
            .unwrap_or(defaults.min_insync_replicas),
        retention_ms: row.retention_ms,
        compression: row
            .compression
            .unwrap_or_else(|| defaults.compression.clone()),
        owner: row.owner,
    })
}

fn event(name: &str, file: String, text: &str, enums: &mut Vec<Enum>) -> Result<Event> {
    apache_avro::Schema::parse_str(text)?;
    let json: Value = serde_json::from_str(text)?;
    let fingerprint = fingerprint(json.clone())?;
    let mut nested = Vec::new();
    let mut record = record(&json, &mut nested, enums)?;
    ensure!(record.name == name, "the record's name is {}", record.name);
    envelope(&json)?;
    record.fields.drain(..ENVELOPE.len());
    check_sensitive(&record)?;
    Ok(Event {
        file,
        schema_json: lines_by_field(&json)?,
        fingerprint,
        record,
        nested,
    })
}

/// The CRC-64-AVRO fingerprint of a schema.
///
/// apache-avro 0.22 keeps `{"type":"string"}` in the canonical form where a logical type stood, while
/// the specification, Java and Python have `"string"`: so logical types, of which the canonical form
/// says nothing, are taken out before it.
fn fingerprint(mut schema: Value) -> Result<u64> {
    fn strip(json: &mut Value) {
        match json {
            Value::Object(attributes) => {
                attributes.shift_remove("logicalType");
                attributes.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut schema);
    let fingerprint = apache_avro::Schema::parse(&schema)?.fingerprint::<Rabin>();
    Ok(u64::from_le_bytes(fingerprint.bytes.as_slice().try_into()?))
}

/// Checks that the record begins with the envelope.
fn envelope(record: &Value) -> Result<()> {
    let fields = list(record, "fields")?;
    for (index, (name, ty)) in ENVELOPE.into_iter().enumerate() {
        let field = fields.get(index).map(plain_json).transpose()?;
        ensure!(
            field.as_ref().is_some_and(|(n, t)| n == name && t == ty),
            "field {index} must be the envelope's {name} of type {ty}"
        );
    }
    Ok(())
}

/// A field's name and its type without a logical type.
fn plain_json(field: &Value) -> Result<(String, String)> {
    let ty = &field["type"];
    let ty = if ty["logicalType"].is_string() {
        &ty["type"]
    } else {
        ty
    };
    Ok((text(field, "name")?.to_owned(), serde_json::to_string(ty)?))
}

fn record(json: &Value, nested: &mut Vec<Record>, enums: &mut Vec<Enum>) -> Result<Record> {
    let name = text(json, "name")?.to_owned();
    let mut fields = Vec::new();
    for json in list(json, "fields")? {
        let field_name = text(json, "name")?;
        let field = field(json, nested, enums).with_context(|| format!("field {field_name}"))?;
        fields.push(field);
    }
    ensure!(!fields.is_empty(), "record {name} has no fields");
    Ok(Record {
        name,
        doc: doc(json)?,
        fields,
    })
}

fn field(json: &Value, nested: &mut Vec<Record>, enums: &mut Vec<Enum>) -> Result<Field> {
    let name = text(json, "name")?;
    let ty = field_type(&json["type"], nested, enums)?;
    let range = match (json["minimum"].as_f64(), json["maximum"].as_f64()) {
        (None, None) => None,
        (minimum, maximum) => {
            let is_number = |plain| matches!(plain, &Plain::Double | &Plain::Int | &Plain::Long);
            ensure!(
                matches!(&ty, Type::Plain(plain) | Type::Optional(plain) if is_number(plain)),
                "minimum and maximum are for numbers"
            );
            Some((
                minimum.unwrap_or(f64::NEG_INFINITY),
                maximum.unwrap_or(f64::INFINITY),
            ))
        }
    };
    Ok(Field {
        name: name.to_owned(),
        doc: doc(json)?,
        default: json
            .get("default")
            .map(|value| default(value, &ty))
            .transpose()?,
        sensitive: json
            .get("sensitive")
            .map(|value| sensitive(value, &ty))
            .transpose()?,
        range,
        json_name: json["legacyJsonName"].as_str().map(str::to_owned),
        ty,
    })
}

fn field_type(json: &Value, nested: &mut Vec<Record>, enums: &mut Vec<Enum>) -> Result<Type> {
    if let Value::Array(branches) = json {
        let [Value::String(null), branch] = branches.as_slice() else {
            bail!("of unions there is only code for [\"null\", T]");
        };
        ensure!(null == "null", "null must be the first branch of a union");
        return Ok(Type::Optional(plain(branch, enums)?));
    }
    match json["type"].as_str() {
        Some("array") if json["items"]["type"] == "record" => {
            let record = record(&json["items"], nested, enums)?;
            for field in &record.fields {
                ensure!(
                    matches!(field.ty, Type::Plain(_) | Type::Optional(_)),
                    "{}.{}: there is no code for collections within a nested record",
                    record.name,
                    field.name
                );
                ensure!(
                    field.sensitive.is_none() && field.range.is_none(),
                    "{}.{}: there is no code for sensitive fields and limits in a nested record",
                    record.name,
                    field.name
                );
            }
            let name = record.name.clone();
            nested.push(record);
            Ok(Type::Records(name))
        }
        Some("array") => Ok(Type::Array(plain(&json["items"], enums)?)),
        Some("map") if json["values"] == "string" => Ok(Type::StringMap),
        Some("map") => bail!("of maps there is only code for those of strings"),
        _ => Ok(Type::Plain(plain(json, enums)?)),
    }
}

fn plain(json: &Value, enums: &mut Vec<Enum>) -> Result<Plain> {
    let name = json
        .as_str()
        .or_else(|| json["type"].as_str())
        .unwrap_or_default();
    Ok(match name {
        "string" => Plain::String,
        "int" => Plain::Int,
        "long" => Plain::Long,
        "double" => Plain::Double,
        "boolean" => Plain::Boolean,
        "enum" => {
            let definition = enumeration(json)?;
            let name = definition.name.clone();
            match enums.iter().find(|known| known.name == name) {
                Some(known) => {
                    ensure!(
                        *known == definition,
                        "enum {name} is defined otherwise elsewhere"
                    );
                }
                None => enums.push(definition),
            }
            Plain::Enum(name)
        }
        known if enums.iter().any(|candidate| candidate.name == known) => {
            Plain::Enum(known.to_owned())
        }
        _ => bail!("there is no code for a field of type {json}"),
    })
}

/// The documentation of an enum is a sentence and then a line `- SYMBOL: meaning` for each symbol.
fn enumeration(json: &Value) -> Result<Enum> {
    let name = text(json, "name")?;
    let whole = doc(json)?;
    let (doc, meanings) = whole.split_once('\n').unwrap_or((&whole, ""));
    let symbols = list(json, "symbols")?.iter().map(|symbol| {
        let symbol = symbol.as_str().unwrap_or_default();
        let start = format!("- {symbol}: ");
        let meaning = meanings.lines().find_map(|line| line.strip_prefix(&start));
        let meaning = meaning.with_context(|| format!("enum {name} does not document {symbol}"))?;
        Ok((symbol.to_owned(), meaning.to_owned()))
    });
    Ok(Enum {
        name: name.to_owned(),
        doc: doc.to_owned(),
        symbols: symbols.collect::<Result<_>>()?,
    })
}

fn default(value: &Value, ty: &Type) -> Result<Default> {
    Ok(match (value, ty) {
        (Value::Null, _) => Default::Null,
        (Value::Bool(value), _) => Default::Boolean(*value),
        (Value::String(value), _) => Default::Text(value.clone()),
        (Value::Number(value), Type::Plain(Plain::Double)) => {
            Default::Double(value.as_f64().context("the default is no double")?)
        }
        (Value::Number(value), _) => {
            Default::Integer(value.as_i64().context("the default is no integer")?)
        }
        (Value::Array(items), _) if items.is_empty() => Default::Empty,
        (Value::Object(entries), _) if entries.is_empty() => Default::Empty,
        _ => bail!("there is no code for the default {value}"),
    })
}

fn sensitive(json: &Value, ty: &Type) -> Result<Sensitive> {
    let action = match json["action"].as_str() {
        Some("hash") => Action::Hash,
        Some("mask") => Action::Mask,
        Some("drop") => Action::Drop,
        _ => bail!("sensitive: action must be hash, mask or drop"),
    };
    match ty {
        Type::Optional(Plain::String) => {}
        Type::Plain(Plain::String) if action != Action::Drop => {}
        Type::Plain(Plain::String) => bail!("sensitive: only what may be null can be dropped"),
        _ => bail!("sensitive: there is only code for strings"),
    }
    Ok(Sensitive {
        action,
        when: json["when"].as_str().map(str::to_owned),
    })
}

/// A treatment may hang on a boolean field, which must be there.
fn check_sensitive(record: &Record) -> Result<()> {
    for field in &record.fields {
        if let Some(when) = field
            .sensitive
            .as_ref()
            .and_then(|sensitive| sensitive.when.as_ref())
        {
            let found = record
                .fields
                .iter()
                .find(|candidate| candidate.name == *when);
            ensure!(
                found.is_some_and(|found| found.ty == Type::Plain(Plain::Boolean)),
                "field {}: sensitive hangs on {when}, which is no boolean field",
                field.name
            );
        }
    }
    Ok(())
}

/// Takes a template such as `{a}->{b}` or `{a|b}` apart.
fn key(template: &str, record: &Record) -> Result<Key> {
    let type_of = |name: &str| {
        let envelope = ENVELOPE
            .iter()
            .any(|(field, ty)| *field == name && *ty == r#""string""#);
        let own = record.fields.iter().find(|field| field.name == name);
        match own.map(|field| &field.ty) {
            Some(ty) => Ok(ty.clone()),
            None if envelope && name == "source" => Ok(Type::Plain(Plain::String)),
            None => bail!("key {template}: {name} is no field that a key can be made of"),
        }
    };
    let required = |name: &str| {
        ensure!(
            type_of(name)? == Type::Plain(Plain::String),
            "key {template}: {name} must be a string that is never null"
        );
        Ok(name.to_owned())
    };
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let Some((literal, after)) = rest.split_once('{') else {
            parts.push(KeyPart::Literal(rest.to_owned()));
            break;
        };
        if !literal.is_empty() {
            parts.push(KeyPart::Literal(literal.to_owned()));
        }
        let (fields, after) = after
            .split_once('}')
            .with_context(|| format!("key {template}: a brace is open"))?;
        parts.push(match fields.split_once('|') {
            None => KeyPart::Field(required(fields)?),
            Some((optional, otherwise)) => {
                ensure!(
                    type_of(optional)? == Type::Optional(Plain::String),
                    "key {template}: {optional} must be a string that may be null"
                );
                let (optional, otherwise) = (optional.to_owned(), required(otherwise)?);
                KeyPart::Either {
                    optional,
                    otherwise,
                }
            }
        });
        rest = after;
    }
    ensure!(!parts.is_empty(), "the key is empty");
    Ok(Key {
        template: template.to_owned(),
        parts,
    })
}

/// The schema with a line for each field, the form in which it is embedded.
fn lines_by_field(record: &Value) -> Result<String> {
    let mut head = record.as_object().cloned().unwrap_or_default();
    let fields = head.shift_remove("fields").unwrap_or_default();
    let head = serde_json::to_string(&Value::Object(head))?;
    let mut lines = format!("{},\"fields\":[\n", head.strip_suffix('}').unwrap_or(&head));
    let fields = fields
        .as_array()
        .into_iter()
        .flatten()
        .map(serde_json::to_string);
    lines.push_str(&fields.collect::<Result<Vec<_>, _>>()?.join(",\n"));
    lines.push_str("\n]}");
    Ok(lines)
}

fn text<'v>(json: &'v Value, attribute: &str) -> Result<&'v str> {
    json[attribute]
        .as_str()
        .with_context(|| format!("attribute {attribute} is missing"))
}

fn list<'v>(json: &'v Value, attribute: &str) -> Result<&'v Vec<Value>> {
    json[attribute]
        .as_array()
        .with_context(|| format!("attribute {attribute} is missing"))
}

fn doc(json: &Value) -> Result<String> {
    let doc = text(json, "doc")?.trim();
    ensure!(!doc.is_empty(), "doc is empty");
    Ok(doc.to_owned())
}
