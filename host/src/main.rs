//! The `plugin-host` program.
fn main() {}
