//! `cargo xtask serve`: from a fresh clone to a host that answers.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use serde::Deserialize;

use crate::{build_plugins::BuildPlugins, toolchain};

/// Builds the plugins and the host, and runs the host on loopback with its data in `data/`, watching for plugins
/// that are built anew. The operator's token,
/// which deploying takes, is made there, too: `data/admin-token`.
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
        host.args(["serve", "--plugins", "dist/plugins", "--data-dir", "data", "--watch"]);
        if !self.args.iter().any(|argument| argument.starts_with("--admin-token-file")) {
            make_token(&root.join("data"))?;
            host.args(["--admin-token-file", "data/admin-token"]);
        }
        host.args(&self.args).current_dir(root);
        become_(host)
    }
}

/// Makes the operator's token, unless there is one: readable for its owner alone.
fn make_token(data: &Path) -> anyhow::Result<()> {
    let path = data.join("admin-token");
    if path.exists() {
        return Ok(());
    }
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    fs::create_dir_all(data)?;
    let random = ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new());
    let random = random.map_err(|_| anyhow::anyhow!("the system has no random numbers"))?.expose();
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    options.open(&path)?.write_all(format!("{token}\n").as_bytes()).context("the operator's token")
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
