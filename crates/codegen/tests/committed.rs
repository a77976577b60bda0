//! The generated files in the repository are up to date.

use std::path::{Path, PathBuf};

use carbon_events_codegen as codegen;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn generated_files_are_as_the_schemas_say() {
    let stale = codegen::stale(&root()).unwrap();
    assert!(
        stale.is_empty(),
        "run `cargo xtask generate` and commit what it writes: {stale:?}"
    );
}

#[test]
fn options_and_error_classes_are_as_the_core_declares_them() {
    let declared = codegen::Declarations::from_json(carbon_events::config::declarations()).unwrap();
    let files = codegen::generate_from(&root(), &declared).unwrap();
    let stale = codegen::differences(&root(), &files);
    assert!(
        stale.is_empty(),
        "run `cargo xtask generate` and commit what it writes: {stale:?}"
    );
}
