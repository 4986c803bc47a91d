//! `cargo xtask serve`: from a fresh clone to a host that answers.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use serde::Deserialize;

use crate::{build_plugins::BuildPlugins, toolchain};

/// Builds the plugins and the host, and runs the host on loopback with its data in `data/`.
#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Build the host with optimisations of its own; takes longer to build.
    #[arg(long)]
    release: bool,
    /// Handed to `plugin-host serve`, such as `--listen 127.0.0.1:9000`.
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
        let mut host = Command::new(build_host(root, self.release)?);
        host.args(["serve", "--plugins", "dist/plugins", "--data-dir", "data"])
            .args(&self.args)
            .current_dir(root);
        become_(host)
    }
}

/// Builds `plugin-host` and says where it is.
///
/// The whole workspace is selected, and one binary of it built: cargo unites the features of
/// dependencies over what is selected, so `--package host` would compile an engine of its own beside
/// the one that the tests use.
fn build_host(root: &Path, release: bool) -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        executable: Option<PathBuf>,
    }
    let mut cargo = toolchain::cargo_command();
    cargo.args([
        "build",
        "--workspace",
        "--bin",
        "plugin-host",
        "--message-format=json-render-diagnostics",
    ]);
    if release {
        cargo.arg("--release");
    }
    let output = cargo.current_dir(root).stderr(Stdio::inherit()).output().context("cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let executable = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok()?.executable)
        .next_back();
    anyhow::ensure!(output.status.success(), "the host does not compile");
    executable.context("cargo says nothing of `plugin-host`")
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
