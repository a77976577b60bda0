//! The events that the benchmarks encode and decode, and the libraries beside which they are
//! measured.
//!
//! Each [`Sample`] is one event in the forms that the libraries take: ours, and a struct with
//! serde's derives. Both give the same bytes, so that what is compared is the same work.

mod peers;
mod samples;

pub use peers::Peer;
pub use samples::{Access, Call, Column, Ingestion, Lineage, Sample, Samples};
