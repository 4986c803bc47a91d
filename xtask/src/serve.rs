//! `cargo xtask serve`: from a fresh clone to a host that answers.

use std::{path::Path, process::Command};

use anyhow::Context;

use crate::{build_plugins::BuildPlugins, toolchain};

/// Builds the plugins and the host, and runs the host on loopback with its data in `data/`.
#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Build the host with optimisations of its own; takes longer to build.
    #[arg(long)]
    release: bool,
    /// Handed to `plugin-host serve`, such as `--port 9000`.
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl Serve {
    /// # Errors
    /// If the target, the plugins or the host cannot be built. On Unix this does not return once the
    /// host has started.
    pub(crate) fn run(self, sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        toolchain::ensure_target(root)?;
        BuildPlugins::for_use(false).run(sh, root)?;
        let mut host = Command::new(toolchain::cargo());
        host.args(["run", "--package", "host", "--bin", "plugin-host"]);
        if self.release {
            host.arg("--release");
        }
        host.args(["--", "serve", "--plugins", "dist/plugins", "--data-dir", "data"])
            .args(&self.args)
            .current_dir(root);
        become_(host)
    }
}

/// Puts `command` in the place of this process, so that signals reach it and its exit code is ours.
#[cfg(unix)]
fn become_(mut command: Command) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    Err(command.exec()).context("starting the host")
}

#[cfg(not(unix))]
fn become_(mut command: Command) -> anyhow::Result<()> {
    let status = command.status().context("starting the host")?;
    std::process::exit(status.code().unwrap_or(1))
}
