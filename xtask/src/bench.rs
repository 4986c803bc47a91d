//! `cargo xtask bench`: how fast it is.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use xshell::cmd;

use crate::{
    build_plugins::BuildPlugins,
    toolchain::{self, apart},
};

/// Runs the benchmarks of all crates.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Handed to criterion, such as a filter or `--quick`.
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Bench {
    /// # Errors
    /// If something does not build or a benchmark fails.
    pub(crate) fn run(self, sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        let (cargo, args) = (toolchain::cargo(), &self.args);
        let metadata = cmd!(sh, "{cargo} metadata --format-version 1 --no-deps").quiet().read()?;
        let metadata: Metadata =
            serde_json::from_str(&metadata).context("the output of cargo metadata")?;
        // Named one by one: the test harness of a library would choke on criterion's arguments.
        let mut benches = Vec::new();
        for target in metadata.packages.into_iter().flat_map(|package| package.targets) {
            // `cargo xtask soak` runs that one: it fails where a figure is not held.
            if target.name != "soak" && target.kind.iter().any(|kind| kind == "bench") {
                benches.extend(["--bench".to_owned(), target.name]);
            }
        }
        if benches.is_empty() {
            println!("there are no benchmarks");
            return Ok(());
        }
        toolchain::ensure_target(root)?;
        BuildPlugins::for_use(true).run(sh, root)?;
        apart(cmd!(sh, "{cargo} bench --workspace {benches...} -- {args...}")).run()?;
        Ok(())
    }
}
