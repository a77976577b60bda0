//! The carbon-events command.
fn main() {}
