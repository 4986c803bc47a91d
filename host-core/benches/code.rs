//! What it costs to have compiled code.

fn main() {}
