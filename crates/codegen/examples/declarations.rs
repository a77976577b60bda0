//! Writes the files that come from the core's declarations; with `--check`, fails if one is stale.
//! `cargo xtask generate` starts it.

use std::path::Path;

use anyhow::{Result, ensure};
use carbon_events_codegen::{Declarations, differences, generate_from, write_files};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let declarations = Declarations::from_json(carbon_events::config::declarations())?;
    let files = generate_from(&root, &declarations)?;
    if std::env::args().any(|argument| argument == "--check") {
        let stale = differences(&root, &files);
        ensure!(
            stale.is_empty(),
            "stale: {stale:?}; run `cargo xtask generate`"
        );
    } else {
        for path in write_files(&root, &files)? {
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(())
}
