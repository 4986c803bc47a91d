//! What can go wrong in a host.

use std::{path::PathBuf, time::Duration};

use host_core::CoreError;
use host_deploy::{Illegal, storage::StorageError};
use host_ipc::{ConfigError, channel::MessageError};
use host_security::{audit::AuditError, enforce::net::NetSetupError};
use plugin_contract::{Explain, PluginId};
use semver::Version;

use crate::{InvalidPluginRef, PluginRef};

/// Errors of the libraries, and the host's own. [`Explain`] gives code and remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// From bytes to a finished call.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The configuration store.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The network of guests.
    #[error(transparent)]
    Net(#[from] NetSetupError),
    /// A message was not delivered, or not answered.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The data directory cannot be used.
    #[error("the data directory `{}` cannot be used", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A text that names no plugin.
    #[error(transparent)]
    Name(#[from] InvalidPluginRef),
    /// No such plugin serves.
    #[error("no plugin `{0}` is serving")]
    UnknownPlugin(PluginRef),
    /// The plugin does not take such inputs.
    #[error("`{plugin}` takes {}, not `{content_type}`", accepts.join(", "))]
    UnsupportedMediaType {
        /// Which.
        plugin: PluginRef,
        /// What was sent.
        content_type: String,
        /// What it takes.
        accepts: Vec<String>,
    },
    /// Something that is no event. The message says why.
    #[error("{0}")]
    InvalidEvent(String),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// A step that a deployment does not take.
    #[error(transparent)]
    Deploy(#[from] Illegal),
    /// Deployments could not be read or stored.
    #[error(transparent)]
    Deployments(#[from] StorageError),
    /// This host keeps no deployments.
    #[error("this host keeps nothing, so nothing can be deployed to it")]
    NoDeployments,
    /// Nothing of the plugin was ever deployed.
    #[error("nothing of `{0}` was deployed")]
    NotDeployed(PluginId),
    /// The versions of the plugin are deployed, and not those of a directory.
    #[error("the versions of `{0}` are deployed: files in a directory do not count")]
    Managed(PluginId),
    /// Callers of the version that serves could not live with the new one.
    #[error("`{plugin}` {version} breaks callers of {active}: {}", changes.join("; "))]
    BreakingChange {
        /// The plugin.
        plugin: PluginId,
        /// The version that was deployed.
        version: Version,
        /// The version that serves.
        active: Version,
        /// Each item that does.
        changes: Vec<String>,
    },
    /// What a component imports and exports cannot be read.
    #[error("what `{plugin}` imports and exports cannot be read: {error}")]
    Contract {
        /// The plugin.
        plugin: PluginId,
        /// What is wrong with it.
        error: String,
    },
    /// Something that is no upload. The message says why.
    #[error("{0}")]
    InvalidUpload(String),
    /// The plugin keeps a state, of which there can be one.
    #[error(
        "`{plugin}` keeps a state that each version hands to the next, so two cannot serve side by side"
    )]
    StatefulCanary {
        /// The plugin.
        plugin: PluginId,
    },
    /// The canary has taken all its steps.
    #[error("the canary of `{plugin}` has no further step but to be promoted")]
    LastStep {
        /// The plugin.
        plugin: PluginId,
    },
}

impl HostError {
    /// When a call that was refused is worth another try, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Core(error) => error.retry_after(),
            _ => None,
        }
    }

    /// The message, for whoever is not to know where things lie on the host: no paths, no causes, no
    /// frames.
    pub fn public_message(&self) -> String {
        match self {
            Self::Core(error) => error.public_message(),
            Self::DataDir { .. } => "the data directory cannot be used".to_owned(),
            error => error.to_string(),
        }
    }
}

impl Explain for HostError {
    fn code(&self) -> &'static str {
        match self {
            Self::Core(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Net(error) => error.code(),
            Self::Message(error) => error.code(),
            Self::DataDir { .. } => "host/data-dir",
            Self::Name(_) => "host/invalid-name",
            Self::UnknownPlugin(_) => "host/unknown-plugin",
            Self::UnsupportedMediaType { .. } => "host/unsupported-media-type",
            Self::InvalidEvent(_) => "host/invalid-event",
            Self::ShuttingDown => "host/shutting-down",
            Self::Deploy(error) => error.code(),
            Self::Deployments(error) => error.code(),
            Self::NoDeployments => "deploy/no-storage",
            Self::NotDeployed(_) => "deploy/not-deployed",
            Self::Managed(_) => "deploy/managed",
            Self::BreakingChange { .. } => "deploy/breaking-change",
            Self::Contract { .. } => "deploy/unreadable-contract",
            Self::InvalidUpload(_) => "deploy/invalid-upload",
            Self::StatefulCanary { .. } => "deploy/stateful-canary",
            Self::LastStep { .. } => "deploy/last-step",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Core(error) => error.remedy(),
            Self::Config(error) => error.remedy(),
            Self::Audit(error) => error.remedy(),
            Self::Net(error) => error.remedy(),
            Self::Message(error) => error.remedy(),
            Self::DataDir { .. } => "give the host a directory that it may write to",
            Self::Name(_) => "name a plugin as `plugin-host list` does",
            Self::UnknownPlugin(_) => {
                "see `plugin-host list` for what is there, and why something is not"
            }
            Self::UnsupportedMediaType { .. } => {
                "send one of the media types the plugin takes, and name it in `content-type`"
            }
            Self::InvalidEvent(_) => "correct what the message names",
            Self::ShuttingDown => "try again on a host that stays up",
            Self::Deploy(error) => error.remedy(),
            Self::Deployments(error) => error.remedy(),
            Self::NoDeployments => "give the host a data directory",
            Self::NotDeployed(_) => "deploy it with `plugin-host deploy`",
            Self::Managed(_) => "deploy the new version with `plugin-host deploy`",
            Self::BreakingChange { .. } => {
                "keep what callers use, or deploy it all the same with `--allow-breaking`"
            }
            Self::Contract { .. } => "build the component with current tools",
            Self::InvalidUpload(_) => {
                "send a component as `application/wasm`, or a plugin's folder as `application/x-tar`"
            }
            Self::StatefulCanary { .. } => {
                "try it on mirrored calls (`plugin-host shadow`), and then `plugin-host activate` it"
            }
            Self::LastStep { .. } => "promote it with `plugin-host promote NAME`, or take it back",
        }
    }
}
