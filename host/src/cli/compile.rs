//! `plugin-host compile`: the helper that compiles what a stranger wrote.

use std::process::ExitCode;

/// Compiles one component from standard input to standard output; started by the host itself.
#[derive(clap::Args)]
pub(crate) struct Compile {
    /// For which engine, and within which bounds: what the host says, as JSON.
    order: String,
}

impl Compile {
    pub(crate) fn run(self) -> ExitCode {
        host_core::compile_helper(&self.order)
    }
}
