//! The first bytes of a record's value: which of the three wire formats it is in.
//!
//! ```text
//! Confluent      00 | schema id, u32 big-endian        | Avro body
//! single object  C3 01 | fingerprint, u64 little-endian | Avro body
//! JSON           {  …  }
//! by header      Avro body, with the schema's GUID in the header `__value_schema_id`
//! ```
//!
//! Confluent's format is that of its Schema Registry's serializers; single-object encoding is
//! section "Single-object encoding" of the Avro 1.12 specification, its fingerprint the
//! CRC-64-AVRO of the writer schema's parsing canonical form.

use crate::{Error, ErrorKind, Result};

/// The record header in which Confluent's serializers put a schema's id where the value is an Avro
/// body alone (`HeaderSchemaIdSerializer`).
pub const SCHEMA_ID_HEADER: &str = "__value_schema_id";

const CONFLUENT_MAGIC: u8 = 0x00;
/// Before a GUID of 16 bytes in [`SCHEMA_ID_HEADER`].
const GUID_MAGIC: u8 = 0x01;
const SINGLE_OBJECT_MAGIC: [u8; 2] = [0xC3, 0x01];

/// The wire format of one record's value, with what its header says about the writer's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireFormat {
    /// An Avro body behind the id that a schema registry gave to its schema.
    Confluent {
        /// The schema id.
        id: u32,
    },
    /// An Avro body behind the fingerprint of its schema, for use without a registry.
    SingleObject {
        /// CRC-64-AVRO of the schema's parsing canonical form.
        fingerprint: u64,
    },
    /// An Avro body alone: the record's header [`SCHEMA_ID_HEADER`] holds the GUID that a schema
    /// registry gave to its schema.
    Guid {
        /// The GUID, as a big-endian number.
        guid: u128,
    },
    /// A flat JSON object, as producers wrote before Avro.
    Json,
}

impl WireFormat {
    /// The format's name, as command lines and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            WireFormat::Confluent { .. } => "confluent",
            WireFormat::SingleObject { .. } => "single-object",
            WireFormat::Guid { .. } => "guid-header",
            WireFormat::Json => "json",
        }
    }

    /// How many bytes precede the body: 5, 10 or none.
    pub const fn header_len(self) -> usize {
        match self {
            WireFormat::Confluent { .. } => 5,
            WireFormat::SingleObject { .. } => 10,
            WireFormat::Guid { .. } | WireFormat::Json => 0,
        }
    }
}

/// Appends the header of Confluent's format.
#[inline]
pub fn write_confluent_header(id: u32, out: &mut Vec<u8>) {
    let mut header = [CONFLUENT_MAGIC; 5];
    header[1..].copy_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&header);
}

/// Appends the header of single-object encoding.
#[inline]
pub fn write_single_object_header(fingerprint: u64, out: &mut Vec<u8>) {
    let mut header = [0; 10];
    header[..2].copy_from_slice(&SINGLE_OBJECT_MAGIC);
    header[2..].copy_from_slice(&fingerprint.to_le_bytes());
    out.extend_from_slice(&header);
}

/// A record's value, split into its header and the body behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The format, from the first bytes.
    pub format: WireFormat,
    /// The Avro body, or the whole JSON object.
    pub body: &'a [u8],
}

/// Detects a value's wire format by its first bytes.
///
/// Returns [`ErrorKind::Undecodable`] for an empty value and one that starts like none of the
/// formats; the message shows the first byte at most, never the payload.
#[inline]
pub fn split(value: &[u8]) -> Result<Frame<'_>> {
    match value {
        [CONFLUENT_MAGIC, a, b, c, d, body @ ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            Ok(Frame {
                format: WireFormat::Confluent { id },
                body,
            })
        }
        [0xC3, 0x01, rest @ ..] if rest.len() >= 8 => {
            let (fingerprint, body) = rest.split_at(8);
            // The slice is 8 bytes long, so the conversion cannot fail.
            let fingerprint = u64::from_le_bytes(fingerprint.try_into().unwrap_or_default());
            Ok(Frame {
                format: WireFormat::SingleObject { fingerprint },
                body,
            })
        }
        _ => split_json(value),
    }
}

/// A value whose schema the record's header [`SCHEMA_ID_HEADER`] names.
///
/// The header holds 0x01 and a GUID of 16 bytes, or 0x00 and an id of 4; anything else is
/// [`ErrorKind::Undecodable`].
pub fn split_by_header<'a>(header: &[u8], value: &'a [u8]) -> Result<Frame<'a>> {
    let format = match header {
        [GUID_MAGIC, guid @ ..] => guid.try_into().ok().map(|guid| WireFormat::Guid {
            guid: u128::from_be_bytes(guid),
        }),
        [CONFLUENT_MAGIC, id @ ..] => id.try_into().ok().map(|id| WireFormat::Confluent {
            id: u32::from_be_bytes(id),
        }),
        _ => None,
    };
    let format = format.ok_or_else(|| {
        let message = format!(
            "has a header {SCHEMA_ID_HEADER} that holds neither 0x01 and a GUID of 16 bytes nor 0x00 \
             and a schema id of 4"
        );
        Error::new(ErrorKind::Undecodable, message)
    })?;
    Ok(Frame {
        format,
        body: value,
    })
}

/// A GUID as text: `00112233-4455-6677-8899-aabbccddeeff`.
#[doc(hidden)]
pub fn guid_text(guid: u128) -> String {
    let digits = format!("{guid:032x}");
    let mut parts = Vec::with_capacity(5);
    let mut rest = digits.as_str();
    for len in [8, 4, 4, 4] {
        let (part, after) = rest.split_at(len);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts.join("-")
}

/// What is neither of the Avro formats: JSON, or an error that says what was met.
fn split_json(value: &[u8]) -> Result<Frame<'_>> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let text = json_text(value);
    let message = match (value, text.iter().find(|byte| !is_space(byte))) {
        (_, Some(b'{')) => {
            return Ok(Frame {
                format: WireFormat::Json,
                body: text,
            });
        }
        ([], _) => "has no value (a tombstone)".to_owned(),
        ([CONFLUENT_MAGIC, ..], _) => {
            format!(
                "ends within the schema id: {} of at least 5 bytes",
                value.len()
            )
        }
        ([0xC3], _) | ([0xC3, 0x01, ..], _) => {
            format!(
                "ends within the schema fingerprint: {} of at least 10 bytes",
                value.len()
            )
        }
        ([first, ..], _) => format!(
            "starts with byte 0x{first:02x}, which is neither Avro behind a schema id (0x00), \
             nor Avro behind a fingerprint (0xc3 0x01), nor a JSON object"
        ),
    };
    Err(Error::new(ErrorKind::Undecodable, message))
}

/// The text without the byte order mark before it that some editors and .NET write, and without the
/// NULs behind it of writers that send a buffer or a C string whole.
fn json_text(value: &[u8]) -> &[u8] {
    let text = value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value);
    let end = text.iter().rposition(|byte| *byte != 0);
    end.map_or(&[], |end| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: &[u8]) -> String {
        let error = split(value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        error.message().to_owned()
    }

    #[test]
    fn each_format_is_told_by_its_first_bytes() {
        let frame = split(&[0, 0, 0, 1, 2, 9, 8]).unwrap();
        assert_eq!(
            frame,
            Frame {
                format: WireFormat::Confluent { id: 258 },
                body: &[9, 8]
            }
        );

        let frame = split(&[0xC3, 0x01, 1, 0, 0, 0, 0, 0, 0, 0x80, 7]).unwrap();
        let format = WireFormat::SingleObject {
            fingerprint: 0x8000_0000_0000_0001,
        };
        assert_eq!(frame, Frame { format, body: &[7] });

        let frame = split(b" \r\n\t{}").unwrap();
        assert_eq!(
            frame,
            Frame {
                format: WireFormat::Json,
                body: b" \r\n\t{}"
            }
        );
    }

    #[test]
    fn json_may_have_a_byte_order_mark_before_it_and_nuls_behind_it() {
        for value in [&b"\xef\xbb\xbf {}"[..], b" {}\0\0", b"\xef\xbb\xbf {}\0"] {
            let frame = split(value).unwrap();
            let format = WireFormat::Json;
            assert_eq!(
                frame,
                Frame {
                    format,
                    body: b" {}"
                }
            );
        }
        assert!(message(b"\xef\xbb\xbf").contains("0xef"));
        assert!(message(b"  \0").contains("0x20"));
    }

    #[test]
    fn a_header_names_the_schema_by_guid_or_id() {
        let guid = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128;
        let header = [&[1][..], &guid.to_be_bytes()].concat();
        let frame = split_by_header(&header, b"{\0").unwrap();
        let format = WireFormat::Guid { guid };
        assert_eq!(
            frame,
            Frame {
                format,
                body: b"{\0"
            }
        );
        assert_eq!(guid_text(guid), "00112233-4455-6677-8899-aabbccddeeff");
        let frame = split_by_header(&[0, 0, 0, 1, 2], b"x").unwrap();
        assert_eq!(frame.format, WireFormat::Confluent { id: 258 });
        for wrong in [
            &b""[..],
            b"\x01",
            b"\x00\x01",
            b"\x02\0\0\0\0",
            &header[..16],
        ] {
            let error = split_by_header(wrong, b"x").unwrap_err();
            assert!(error.message().contains(SCHEMA_ID_HEADER), "{error}");
        }
    }

    #[test]
    fn a_written_header_is_read_back() {
        let confluent = WireFormat::Confluent { id: u32::MAX - 1 };
        let single_object = WireFormat::SingleObject {
            fingerprint: 0x0123_4567_89AB_CDEF,
        };
        for format in [confluent, single_object, WireFormat::Json] {
            let mut value = Vec::new();
            match format {
                WireFormat::Confluent { id } => write_confluent_header(id, &mut value),
                WireFormat::SingleObject { fingerprint } => {
                    write_single_object_header(fingerprint, &mut value);
                }
                WireFormat::Guid { .. } | WireFormat::Json => {}
            }
            assert_eq!(value.len(), format.header_len());
            value.extend_from_slice(b"{}");
            assert_eq!(
                split(&value).unwrap(),
                Frame {
                    format,
                    body: b"{}"
                }
            );
        }
    }

    #[test]
    fn a_value_in_no_format_says_what_was_met() {
        assert_eq!(message(b""), "has no value (a tombstone)");
        assert_eq!(
            message(&[0, 0, 0, 1]),
            "ends within the schema id: 4 of at least 5 bytes"
        );
        assert_eq!(
            message(&[0xC3, 0x01, 1, 2]),
            "ends within the schema fingerprint: 4 of at least 10 bytes"
        );
        for value in [
            &b"[1]"[..],
            b"secret",
            b"  ",
            &[0xC3, 2, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let message = message(value);
            let first = format!("starts with byte 0x{:02x}, which is neither", value[0]);
            assert!(message.starts_with(&first), "{message}");
            assert!(!message.contains("secret"));
        }
    }
}
