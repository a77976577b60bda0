//! Encodes a field's default, which a schema states in JSON, as Avro bytes.
//!
//! How a default is written: Avro 1.12, "Complex Types", the table "field default values".

use serde_json::Value;

use super::schema::{Node, NodeId, Schema};
use super::{put_bytes, put_long};

/// A record's default may leave its fields to their own defaults, and so for ever in a schema
/// that contains itself.
const MAX_DEPTH: usize = 32;

/// The Avro bytes of a default, or none if `value` is no value of the type.
pub(crate) fn encode(schema: &Schema, node: NodeId, value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    append(schema, node, value, &mut out, MAX_DEPTH)?;
    Some(out)
}

fn append(
    schema: &Schema,
    node: NodeId,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match (schema.node(node), value) {
        (Node::Null, Value::Null) => {}
        (Node::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
        (Node::Int, Value::Number(number)) => {
            put_long(out, i32::try_from(number.as_i64()?).ok()?.into());
        }
        (Node::Long(_), Value::Number(number)) => put_long(out, number.as_i64()?),
        (Node::Float, Value::Number(number)) => {
            out.extend_from_slice(&(number.as_f64()? as f32).to_le_bytes());
        }
        (Node::Double, Value::Number(number)) => {
            out.extend_from_slice(&number.as_f64()?.to_le_bytes());
        }
        (Node::String, Value::String(text)) => put_bytes(out, text.as_bytes()),
        (Node::Bytes, Value::String(text)) => put_bytes(out, &code_points(text)?),
        (Node::Fixed { size, .. }, Value::String(text)) => {
            let bytes = code_points(text)?;
            (bytes.len() == *size).then(|| out.extend_from_slice(&bytes))?;
        }
        (Node::Enum { symbols, .. }, Value::String(text)) => {
            put_long(
                out,
                symbols.iter().position(|symbol| symbol == text)? as i64,
            );
        }
        (Node::Array(items), Value::Array(values)) => {
            if !values.is_empty() {
                put_long(out, values.len() as i64);
            }
            for value in values {
                append(schema, *items, value, out, depth)?;
            }
            put_long(out, 0);
        }
        (Node::Map(values), Value::Object(entries)) => {
            if !entries.is_empty() {
                put_long(out, entries.len() as i64);
            }
            for (key, value) in entries {
                put_bytes(out, key.as_bytes());
                append(schema, *values, value, out, depth)?;
            }
            put_long(out, 0);
        }
        (Node::Union(branches), value) => {
            // The first branch of which it is a value; before Avro 1.12 only the first of all.
            let start = out.len();
            for (index, branch) in branches.iter().enumerate() {
                put_long(out, index as i64);
                if append(schema, *branch, value, out, depth).is_some() {
                    return Some(());
                }
                out.truncate(start);
            }
            return None;
        }
        (Node::Record { fields, .. }, Value::Object(members)) => {
            for field in fields {
                let value = members.get(&field.name).or(field.default.as_ref())?;
                append(schema, field.node, value, out, depth)?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// In JSON, bytes are the characters U+0000 to U+00FF.
fn code_points(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(schema: &str, value: &str) -> Option<Vec<u8>> {
        let schema = Schema::parse(schema).unwrap();
        encode(
            &schema,
            schema.root(),
            &serde_json::from_str(value).unwrap(),
        )
    }

    #[test]
    fn every_type_has_its_default_in_avro() {
        assert_eq!(encoded("\"null\"", "null").unwrap(), b"");
        assert_eq!(encoded("\"int\"", "-1").unwrap(), [1]);
        assert_eq!(encoded("\"int\"", "2147483648"), None);
        assert_eq!(encoded("\"float\"", "1").unwrap(), [0, 0, 0x80, 0x3f]);
        assert_eq!(encoded("\"bytes\"", r#""\u00ff""#).unwrap(), [2, 0xff]);
        assert_eq!(encoded("\"bytes\"", r#""\u0100""#), None);
        let fixed = r#"{"type":"fixed","name":"F","size":2}"#;
        assert_eq!(encoded(fixed, r#""ab""#).unwrap(), b"ab");
        assert_eq!(encoded(fixed, r#""a""#), None);
        let list = r#"{"type":"array","items":"string"}"#;
        assert_eq!(encoded(list, "[]").unwrap(), [0]);
        assert_eq!(
            encoded(list, r#"["a","b"]"#).unwrap(),
            [4, 2, b'a', 2, b'b', 0]
        );
        let map = r#"{"type":"map","values":"long"}"#;
        assert_eq!(
            encoded(map, r#"{"a":64}"#).unwrap(),
            [2, 2, b'a', 0x80, 1, 0]
        );
        assert_eq!(encoded(r#"["null","string"]"#, "null").unwrap(), [0]);
        assert_eq!(encoded(r#"["null","string"]"#, r#""""#).unwrap(), [2, 0]);
    }

    #[test]
    fn a_record_takes_its_fields_defaults() {
        let record = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":"string"},
            {"name":"b","type":{"type":"enum","name":"E","symbols":["X","Y"]},"default":"Y"}]}"#;
        assert_eq!(encoded(record, r#"{"a":""}"#).unwrap(), [0, 2]);
        assert_eq!(encoded(record, "{}"), None);
    }
}
