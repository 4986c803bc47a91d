//! What becomes of deployed versions: `approve`, `activate`, `canary`, `promote`, `rollback`, `shadow`, `rollout`,
//! `history`.

use std::process::ExitCode;

use clap::Subcommand;
use host::{
    PluginId, Share,
    documents::{DeploymentDocument, DeploymentsDocument, HistoryDocument},
};
use semver::Version;
use serde_json::{Value, json};

use super::{
    CliError,
    remote::{ChangeArgs, Remote, ServerArgs, plain},
    say,
};

/// Agree to what a version asks for beyond the one that serves.
#[derive(clap::Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    which: VersionArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Have a staged version answer all calls, at once.
#[derive(clap::Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    which: VersionArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Give a version a share of the calls, and more of them step by step, for as long as it does no harm.
///
/// Compared with the version that serves, it must not fail more often, nor be slower. If it does, it is taken
/// back by itself; if it does not, it serves in the end.
#[derive(clap::Args)]
pub(crate) struct Canary {
    #[command(flatten)]
    which: VersionArgs,
    /// The shares, one after the other. 100 % promotes it; without, the last one stays.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "1%,5%,25%,100%")]
    steps: Vec<Share>,
    /// How long each is held.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    hold: String,
    /// Calls that each side must have answered before the next step.
    #[arg(long, value_name = "NUMBER")]
    sample_min: Option<u64>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Have the canary answer all calls, at once.
#[derive(clap::Args)]
pub(crate) struct Promote {
    /// The plugin.
    name: PluginId,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Go back: from the canary to what serves; without one, to what served before, or to the version that is
/// named.
#[derive(clap::Args)]
pub(crate) struct Rollback {
    /// The plugin.
    name: PluginId,
    /// The version to go back to.
    version: Option<Version>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Try a staged version on a share of the calls, without anybody getting its answers.
///
/// It can read what it was granted, and change nothing. `rollout status` tells where its answers differ.
#[derive(clap::Args)]
pub(crate) struct Shadow {
    /// The plugin.
    name: PluginId,
    /// The version. Left out, with `--stop`: the one that is tried now.
    #[arg(required_unless_present = "stop")]
    version: Option<Version>,
    /// The share of the calls.
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    share: Share,
    /// Try it no more.
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// See how canaries are doing, and steer them.
#[derive(clap::Args)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Subcommand)]
enum RolloutCommand {
    /// Where the versions of a plugin stand, or those of all.
    Status {
        /// The plugin.
        name: Option<PluginId>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Keep the canary at its step. If it does harm, it is taken back all the same.
    Hold(Steered),
    /// Let it go on.
    Resume(Steered),
    /// Give it its next step now.
    Advance(Steered),
}

#[derive(clap::Args)]
struct Steered {
    /// The plugin.
    name: PluginId,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Tell what happened to the versions of a plugin: when, by whom, and why.
#[derive(clap::Args)]
pub(crate) struct History {
    /// The plugin.
    name: PluginId,
    /// How much of it, at most 1000.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args)]
struct VersionArgs {
    /// The plugin.
    name: PluginId,
    /// The version.
    version: Version,
}

impl VersionArgs {
    fn path(&self, step: &str) -> String {
        format!("/v1/plugins/{}@{}/{step}", self.name, self.version)
    }
}

impl Approve {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        take(&self.change.connect()?, &self.which.path("approve"), None, json).await
    }
}

impl Activate {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        take(&self.change.connect()?, &self.which.path("activate"), None, json).await
    }
}

impl Canary {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let mut plan = json!({ "steps": self.steps, "hold": self.hold });
        if let Some(sample_min) = self.sample_min {
            plan["verdict"] = json!({ "sample-min": sample_min });
        }
        take(&self.change.connect()?, &self.which.path("canary"), Some(plan), json).await
    }
}

impl Promote {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        take(&self.change.connect()?, &path(&self.name, "promote"), None, json).await
    }
}

impl Rollback {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let path = match self.version {
            Some(version) => VersionArgs { name: self.name, version }.path("rollback"),
            None => path(&self.name, "rollback"),
        };
        take(&self.change.connect()?, &path, None, json).await
    }
}

impl Shadow {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let share = if self.stop { Share::NONE } else { self.share };
        let path = match self.version {
            Some(version) => VersionArgs { name: self.name, version }.path("shadow"),
            None => path(&self.name, "shadow"),
        };
        take(&self.change.connect()?, &path, Some(json!({ "share": share })), json).await
    }
}

impl Rollout {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let (steered, step) = match self.command {
            RolloutCommand::Status { name: Some(name), server } => {
                let deployment: DeploymentDocument =
                    server.connect()?.get(&path(&name, "deployment")).await?;
                say(&if json { json!(deployment).to_string() } else { plain(&deployment.table()) });
                return Ok(ExitCode::SUCCESS);
            }
            RolloutCommand::Status { name: None, server } => {
                let all: DeploymentsDocument = server.connect()?.get("/v1/deployments").await?;
                say(&if json { json!(all).to_string() } else { plain(&all.table()) });
                return Ok(ExitCode::SUCCESS);
            }
            RolloutCommand::Hold(steered) => (steered, "hold"),
            RolloutCommand::Resume(steered) => (steered, "resume"),
            RolloutCommand::Advance(steered) => (steered, "advance"),
        };
        take(&steered.change.connect()?, &path(&steered.name, step), None, json).await
    }
}

impl History {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let path = format!("{}?limit={}", path(&self.name, "history"), self.limit);
        let history: HistoryDocument = self.server.connect()?.get(&path).await?;
        say(&if json { json!(history).to_string() } else { plain(&history.table()) });
        Ok(ExitCode::SUCCESS)
    }
}

fn path(name: &PluginId, step: &str) -> String {
    format!("/v1/plugins/{name}/{step}")
}

/// Takes a step and tells where the versions stand then.
async fn take(
    remote: &Remote,
    path: &str,
    body: Option<Value>,
    json: bool,
) -> Result<ExitCode, CliError> {
    let deployment: DeploymentDocument = remote.step(path, body).await?;
    say(&if json { json!(deployment).to_string() } else { plain(&deployment.table()) });
    Ok(ExitCode::SUCCESS)
}
