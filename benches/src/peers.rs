//! The other libraries, each doing the best it can: buffers, schemas and configurations are made
//! once and used again.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Another library's codec of one event.
pub struct Peer {
    schema: apache_avro::Schema,
    fast: serde_avro_fast::Schema,
}

impl Peer {
    /// With the event's schema.
    pub fn new(schema_json: &str) -> Self {
        Peer {
            schema: apache_avro::Schema::parse_str(schema_json).expect("the schema is valid"),
            fast: schema_json.parse().expect("the schema is valid"),
        }
    }

    /// `serde_avro_fast`, into a buffer that is used again.
    pub fn fast_encoder<'p, T: Serialize>(&'p self) -> impl FnMut(&T, &mut Vec<u8>) + 'p {
        let mut config = serde_avro_fast::ser::SerializerConfig::new(&self.fast);
        move |event, out| {
            out.clear();
            let buffer = std::mem::take(out);
            *out = serde_avro_fast::to_datum(event, buffer, &mut config).expect("it is encodable");
        }
    }

    /// `serde_avro_fast`, borrowing from the body.
    pub fn fast_decode<'b, T: Deserialize<'b>>(&self, body: &'b [u8]) -> T {
        serde_avro_fast::from_datum_slice(body, &self.fast).expect("it is decodable")
    }

    /// `apache-avro` through a `Value`.
    pub fn value_encoder(&self) -> impl Fn(&Value, &mut Vec<u8>) + '_ {
        let writer = GenericDatumWriter::builder(&self.schema)
            .build()
            .expect("it is valid");
        move |event, out| {
            out.clear();
            writer.write_value_ref(out, event).expect("it is encodable");
        }
    }

    /// `apache-avro` through a `Value`.
    pub fn value_decoder(&self) -> impl Fn(&[u8]) -> Value + '_ {
        let reader = GenericDatumReader::builder(&self.schema)
            .build()
            .expect("it is valid");
        move |mut body| reader.read_value(&mut body).expect("it is decodable")
    }

    /// `apache-avro` through serde.
    pub fn serde_encoder<T: Serialize>(&self) -> impl Fn(&T, &mut Vec<u8>) + '_ {
        let writer = GenericDatumWriter::builder(&self.schema)
            .build()
            .expect("it is valid");
        move |event, out| {
            out.clear();
            writer.write_ser(out, event).expect("it is encodable");
        }
    }

    /// `apache-avro` through serde.
    pub fn serde_decoder<T: DeserializeOwned>(&self) -> impl Fn(&[u8]) -> T + '_ {
        let reader = GenericDatumReader::builder(&self.schema)
            .build()
            .expect("it is valid");
        move |mut body| reader.read_deser(&mut body).expect("it is decodable")
    }
}
