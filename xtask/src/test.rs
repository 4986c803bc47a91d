//! `cargo xtask test`: every test there is.

use std::path::Path;

use xshell::cmd;

use crate::{
    build_plugins::BuildPlugins,
    toolchain::{self, apart},
};

/// Runs every test: of the crates, of the guests, and from end to end.
#[derive(clap::Args)]
pub(crate) struct Test {
    /// Handed to `cargo test`, such as a filter.
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl Test {
    /// # Errors
    /// If something does not build or a test fails.
    pub(crate) fn run(self, sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        toolchain::ensure_target(root)?;
        BuildPlugins::for_use(true).run(sh, root)?;
        let (cargo, args) = (toolchain::cargo(), &self.args);
        // Guests first: their tests run natively and in seconds. The end-to-end tests are among
        // those of the crate `host`.
        apart(cmd!(sh, "{cargo} test --manifest-path plugins/Cargo.toml --workspace {args...}"))
            .run()?;
        apart(cmd!(sh, "{cargo} test --workspace --no-run")).run()?;
        if cfg!(unix) {
            // A disk that still writes gigabytes of what was built makes each test that syncs a file wait for it.
            cmd!(sh, "sync").run()?;
        }
        apart(cmd!(sh, "{cargo} test --workspace {args...}")).run()?;
        Ok(())
    }
}
