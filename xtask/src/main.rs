//! The commands contributors type.
fn main() {}
