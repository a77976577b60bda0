//! The primitives of Avro's binary encoding: what generated encoders write through and generated
//! decoders read through.
//!
//! ```text
//! event --bound--> append_with(out, bound, |writer| ...) --> one reserve, then straight writes
//! bytes ---------> Reader -----------------------------> &str, i64, ... borrowed from the bytes
//! ```
//!
//! Writing: [`append_with`] reserves an upper bound once and passes a [`Writer`] over the spare
//! capacity. Each write is one comparison, a length and a copy. The comparison fails only when the
//! bound was too small; then the capacity is doubled and the record is written again. A wrong bound
//! costs time, never memory safety.
//!
//! Reading: a [`Reader`] walks over a slice. It checks every length and count against the bytes that
//! are left before it uses them, allocates nothing, and reads collections in a loop, so no input can
//! panic, allocate or recurse.
//!
//! [`Schema`] is a parsed schema; [`default`] encodes the defaults that it states.
//!
//! Format: <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>.

pub(crate) mod default;
mod reader;
pub(crate) mod schema;
mod text;
mod varint;
mod writer;

pub(crate) use reader::EncodedItems;
pub use reader::Reader;
pub use schema::Schema;
pub use writer::Writer;
pub(crate) use writer::{MAX_VARINT_LEN, append_with, put_bytes, put_long};
