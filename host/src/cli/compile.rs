//! `plugin-host compile`: the helper that compiles what a stranger wrote.

use std::process::ExitCode;

/// Compiles one component from standard input; started by the host itself.
#[derive(clap::Args)]
pub(crate) struct Compile {}

impl Compile {
    pub(crate) fn run(self) -> ExitCode {
        ExitCode::FAILURE
    }
}
