//! The command as a user meets it: arguments in, text and exit codes out. On real brokers and a real
//! registry it is tested in the workspace's `tests/`.

#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod embedded;
mod offline;
mod produce;
mod run;
mod tail;

use std::path::PathBuf;

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_carbon-events"))
}
