//! What the two programs that publish logs share; the other programs beside this one stand alone.
//!
//! ```text
//!  lines::Log ──line──▶ combined_log::Request ──┐
//!                  └──▶ ssh_log::Entry ─────────┴─▶ event ─▶ run::Run ─▶ Kafka ─▶ tally::Tally
//! ```

pub mod combined_log;
pub mod lines;
pub mod run;
pub mod ssh_log;
pub mod syslog;
pub mod tally;
