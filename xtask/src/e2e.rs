//! `cargo xtask e2e`: the host as its users see it.

use std::path::Path;

use xshell::cmd;

use crate::{
    build_plugins::BuildPlugins,
    toolchain::{self, apart},
};

/// Runs only the tests that drive the real binary, over HTTP and the command line.
#[derive(clap::Args)]
pub(crate) struct E2e {
    /// Handed to the test binary, such as a filter or `--nocapture`.
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl E2e {
    /// # Errors
    /// If something does not build or a test fails.
    pub(crate) fn run(self, sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        toolchain::ensure_target(root)?;
        BuildPlugins::for_use(true).run(sh, root)?;
        let (cargo, args) = (toolchain::cargo(), &self.args);
        // Cargo builds the binary too, because the test names it. The whole workspace is selected for
        // the reason that `serve` gives.
        apart(cmd!(sh, "{cargo} test --workspace --test e2e -- {args...}")).run()?;
        Ok(())
    }
}
