//! The primitives of Avro's binary encoding: what generated encoders write through and generated
//! decoders read through.
//!
//! ```text
//! event --bound--> append_with(out, bound, |writer| ...) --> one reserve, then straight writes
//! bytes ---------> Reader -----------------------------> &str, i64, ... borrowed from the bytes
//! ```
//!
//! Writing: [`append_with`] reserves an upper bound once and hands out a [`Writer`] over the spare
//! room; each write is one comparison, a length and a copy. The comparison can only fail when the
//! bound was wrong, and then the room is doubled and the record written again: a wrong bound costs
//! time, never memory safety.
//!
//! Reading: a [`Reader`] walks over a slice. Every length and count is held against the bytes that
//! are left before anything is done with it, nothing is allocated, and collections are walked in a
//! loop, so that no input can panic, allocate or recurse.
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
