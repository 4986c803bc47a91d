//! The real binary, over HTTP and on the command line, with the real plugins.
//!
//! Needs what `cargo xtask build-plugins` makes; `cargo xtask e2e` does both.

#![expect(clippy::unwrap_used, reason = "tests")]

mod authority;
mod bad_input;
#[path = "../common/chameleon.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod chameleon;
mod cli;
mod compile;
mod containment;
mod contracts;
mod deploy;
mod harness;
mod http;
mod operations;
mod plugins;
mod services;
mod streams;
mod vouching;
mod watch;
