//! `cargo xtask soak`: swaps under load.

use std::path::Path;

use xshell::cmd;

use crate::{
    build_plugins::BuildPlugins,
    toolchain::{self, apart},
};

/// Replaces a plugin again and again while it is called: fails if a call is lost, executed twice, or answered by
/// who was replaced before, and if calls take more than twice as long meanwhile.
#[derive(clap::Args)]
pub(crate) struct Soak {
    /// How many calls.
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
    /// How many swaps.
    #[arg(long, default_value_t = 200)]
    swaps: u64,
}

impl Soak {
    /// # Errors
    /// If something does not build or does not hold.
    pub(crate) fn run(self, sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        toolchain::ensure_target(root)?;
        BuildPlugins::for_use(true).run(sh, root)?;
        let (cargo, calls, swaps) =
            (toolchain::cargo(), self.calls.to_string(), self.swaps.to_string());
        let arguments = ["--calls", &calls, "--swaps", &swaps];
        apart(cmd!(sh, "{cargo} bench --workspace --bench soak -- {arguments...}")).run()?;
        Ok(())
    }
}
