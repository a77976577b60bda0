//! The generated files in the repository are those that `schemas/` gives.

use std::path::Path;

#[test]
fn generated_files_are_as_the_schemas_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stale = carbon_events_codegen::stale(&root).unwrap();
    assert!(
        stale.is_empty(),
        "run `cargo xtask generate` and commit what it writes: {stale:?}"
    );
}
