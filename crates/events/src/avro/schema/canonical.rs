//! A schema's parsing canonical form and its CRC-64-AVRO fingerprint (Avro 1.12, "Transforming
//! into Parsing Canonical Form" and "Schema Fingerprints").
//!
//! apache-avro 0.22 computes both, but leaves `{"type":"string"}` where a logical type stood, which
//! the specification, Java and fastavro write as `"string"`: its fingerprints are nobody else's.

use super::{Node, NodeId, Schema};

/// The fingerprint of an empty text.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut entry = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            entry = (entry >> 1) ^ if entry & 1 == 1 { EMPTY } else { 0 };
            bit += 1;
        }
        table[byte] = entry;
        byte += 1;
    }
    table
};

/// CRC-64-AVRO of a schema's parsing canonical form.
pub(super) fn fingerprint(schema: &Schema) -> u64 {
    crc64_avro(form(schema).as_bytes())
}

fn crc64_avro(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |crc, byte| {
        (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

fn form(schema: &Schema) -> String {
    let mut form = Form {
        schema,
        defined: vec![false; schema.nodes.len()],
        out: String::new(),
    };
    form.node(schema.root);
    form.out
}

struct Form<'s> {
    schema: &'s Schema,
    /// The named types that were written out; afterwards they are written by name.
    defined: Vec<bool>,
    out: String,
}

impl Form<'_> {
    fn node(&mut self, id: NodeId) {
        let node = self.schema.node(id);
        if let Some(name) = node.name() {
            if std::mem::replace(&mut self.defined[id], true) {
                return self.text(&name.full);
            }
            self.out.push_str("{\"name\":");
            self.text(&name.full);
            self.out.push_str(",\"type\":");
            self.text(node.type_name());
        }
        match node {
            Node::Fixed { size, .. } => {
                self.out.push_str(&format!(",\"size\":{size}}}"));
            }
            Node::Enum { symbols, .. } => {
                self.out.push_str(",\"symbols\":[");
                self.list(symbols, |form, symbol| form.text(symbol));
                self.out.push_str("]}");
            }
            Node::Array(items) => {
                self.out.push_str("{\"type\":\"array\",\"items\":");
                self.node(*items);
                self.out.push('}');
            }
            Node::Map(values) => {
                self.out.push_str("{\"type\":\"map\",\"values\":");
                self.node(*values);
                self.out.push('}');
            }
            Node::Union(branches) => {
                self.out.push('[');
                self.list(branches, |form, branch| form.node(*branch));
                self.out.push(']');
            }
            Node::Record { fields, .. } => {
                self.out.push_str(",\"fields\":[");
                self.list(fields, |form, field| {
                    form.out.push_str("{\"name\":");
                    form.text(&field.name);
                    form.out.push_str(",\"type\":");
                    form.node(field.node);
                    form.out.push('}');
                });
                self.out.push_str("]}");
            }
            primitive => self.text(primitive.type_name()),
        }
    }

    fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        for (index, value) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            item(self, value);
        }
    }

    /// Names and symbols: letters, digits, underscores and dots, so there is nothing to escape.
    fn text(&mut self, text: &str) {
        self.out.push('"');
        self.out.push_str(text);
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primitive_fingerprints_are_those_of_avros_own_tests() {
        // Lines of `share/test/data/schema-tests.txt` in Avro's repository.
        for (schema, fingerprint) in [
            (r#""null""#, 7_195_948_357_588_979_594_i64),
            (r#"{"type":"boolean"}"#, -6_970_731_678_124_411_036),
            (r#""int""#, 8_247_732_601_305_521_295),
        ] {
            assert_eq!(
                Schema::parse(schema).unwrap().fingerprint() as i64,
                fingerprint
            );
        }
    }

    #[test]
    fn the_form_is_bare_and_writes_a_named_type_once() {
        let schema = Schema::parse(
            r#"{"type":"record","name":"R","namespace":"a.b","doc":"d","fields":[
                {"name":"t","type":{"type":"long","logicalType":"timestamp-millis"},"default":1},
                {"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"],"default":"X"}},
                {"name":"f","type":["null",{"type":"fixed","size":12,"name":"c.F"}]},
                {"name":"m","type":{"type":"map","values":"E"}},
                {"name":"l","type":{"type":"array","items":"R","x":1}}]}"#,
        );
        assert_eq!(
            form(&schema.unwrap()),
            r#"{"name":"a.b.R","type":"record","fields":[{"name":"t","type":"long"},"#.to_owned()
                + r#"{"name":"e","type":{"name":"a.b.E","type":"enum","symbols":["X","Y"]}},"#
                + r#"{"name":"f","type":["null",{"name":"c.F","type":"fixed","size":12}]},"#
                + r#"{"name":"m","type":{"type":"map","values":"a.b.E"}},"#
                + r#"{"name":"l","type":{"type":"array","items":"a.b.R"}}]}"#
        );
    }
}
