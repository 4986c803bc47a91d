//! What can go wrong in a host.

use std::{path::PathBuf, time::Duration};

use host_core::CoreError;
use host_ipc::{ConfigError, channel::MessageError};
use host_security::{audit::AuditError, enforce::net::NetSetupError};
use plugin_contract::Explain;

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
        }
    }
}
