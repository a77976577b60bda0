//! The project command runner.
fn main() {}
