//! What serves and what does not, as JSON: the same over HTTP and on the command line.

mod deployments;

use plugin_contract::{Explain, World, escape};
use serde::Serialize;

use crate::{PluginHost, PluginInfo, Refused, inspect};

pub use deployments::{
    CountsDocument, DeployedDocument, DeploymentDocument, DeploymentsDocument, EvidenceDocument,
    HistoryDocument, RecordDocument, RolloutDocument, ShadowDocument, SideDocument,
    VersionDocument,
};

/// A plugin that serves.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginDocument {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether calls that name no version go to this one.
    pub default: bool,
    /// Where it stands: `serving`, `paused`, `registered`, `unloaded`.
    pub state: &'static str,
    /// Its world; `null` if it is none of this contract's.
    pub world: Option<World>,
    /// One sentence for people.
    pub description: Option<String>,
    /// The media types that `process` takes; empty: any.
    pub accepts: Vec<String>,
    /// The event types it is called for.
    pub events: Vec<String>,
    /// Of its component.
    pub digest: String,
    /// How busy it is.
    pub instances: Instances,
    /// How each thing it asked for was answered.
    pub permissions: Vec<String>,
}

/// Instances of a plugin.
#[derive(Debug, Serialize)]
pub struct Instances {
    /// Working on a call.
    pub busy: u32,
    /// Waiting for one.
    pub idle: u32,
    /// Calls that wait for an instance.
    pub waiting: u32,
    /// How many instances there may be.
    pub max: u32,
}

/// Something that does not.
#[derive(Debug, Serialize)]
pub struct RefusedDocument {
    /// Its file name.
    pub path: String,
    /// Where it stands: `failed`, or to be tried again: `recovering`, `quarantined`.
    pub state: &'static str,
    /// The code of the error.
    pub code: &'static str,
    /// The error, and its causes if they are told.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// All of both.
#[derive(Debug, Serialize)]
pub struct ListDocument {
    /// What serves, by name and version.
    pub plugins: Vec<PluginDocument>,
    /// What does not.
    pub refused: Vec<RefusedDocument>,
}

impl From<PluginInfo> for PluginDocument {
    fn from(info: PluginInfo) -> Self {
        Self {
            name: info.name.to_string(),
            version: info.version.to_string(),
            default: info.is_default,
            state: info.state.name(),
            world: info.world,
            description: info.description,
            accepts: info.accepts,
            events: info.subscriptions,
            digest: info.digest.to_string(),
            instances: Instances {
                busy: info.pool.busy,
                idle: info.pool.idle,
                waiting: info.pool.waiting,
                max: info.grant.limits().max_instances,
            },
            permissions: info.grant.decisions().iter().map(ToString::to_string).collect(),
        }
    }
}

/// How much is told of what does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// To the operator: with paths and causes.
    Full,
    /// To clients: without.
    Public,
}

impl RefusedDocument {
    fn of(refused: &Refused, detail: Detail) -> Self {
        // A file name is a stranger's text, too.
        let name = refused.path.file_name().unwrap_or_default().to_string_lossy();
        Self {
            path: escape(&name, 200),
            state: refused.state.name(),
            code: refused.error.code(),
            message: match detail {
                Detail::Public => refused.error.public_message(),
                Detail::Full => inspect::chain(&refused.error),
            },
            remedy: refused.error.remedy(),
        }
    }
}

impl ListDocument {
    /// The same for people: a line for each.
    pub fn table(&self) -> String {
        let mut lines = Vec::new();
        for plugin in &self.plugins {
            let description = escape(plugin.description.as_deref().unwrap_or_default(), 100);
            let line = format!(
                "{:<24} {:<10} {:<26} {description}",
                plugin.name,
                plugin.version,
                plugin.world.map_or("-", World::name)
            );
            lines.push(line.trim_end().to_owned());
        }
        for refused in &self.refused {
            lines.push(format!(
                "{:<24} refused    {}: {}",
                refused.path, refused.code, refused.message
            ));
            lines.push(format!("{:<24}            help: {}", "", refused.remedy));
        }
        lines.join("\n")
    }

    /// Of a host as it is now.
    pub fn of(host: &PluginHost, detail: Detail) -> Self {
        let refused = host.refused();
        Self {
            plugins: host.plugins().into_iter().map(PluginDocument::from).collect(),
            refused: refused.iter().map(|refused| RefusedDocument::of(refused, detail)).collect(),
        }
    }
}
