//! Why there is no code, as all are told who wait for it: they may ask for different plugins.

use std::{io, sync::Arc, time::Duration};

use plugin_contract::{PluginId, escape};

use crate::CoreError;

/// Longest text of the engine or of a helper that is passed on, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The component could not be had. Who brought it knows why.
    Bytes,
    /// The engine refused it.
    Invalid(String),
    Deadline(Duration),
    /// The helper died of it.
    Exhausted(String),
    /// As many wait as may.
    Busy(usize),
    /// The helper cannot be started, or is none.
    Unavailable(Arc<io::Error>),
}

impl Failure {
    pub(super) fn invalid(error: wasmtime::Error) -> Self {
        Self::refused(&format!("{error:#}"))
    }

    /// The engine's reason, which names what strangers wrote.
    pub(super) fn refused(reason: &str) -> Self {
        Self::Invalid(escape(reason, TEXT_BYTES_MAX))
    }

    pub(super) fn unavailable(error: io::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }

    /// The work was given up: it panicked, or its executor is shutting down.
    pub(super) fn lost() -> Self {
        Self::unavailable(io::Error::other("the work was given up"))
    }

    pub(super) fn explain(self, plugin: &PluginId) -> CoreError {
        let plugin = plugin.clone();
        match self {
            Self::Invalid(reason) => {
                CoreError::Compile { plugin, source: wasmtime::Error::msg(reason) }
            }
            Self::Deadline(deadline) => CoreError::CompileDeadline { plugin, deadline },
            Self::Exhausted(how) => CoreError::CompileExhausted { plugin, how },
            Self::Busy(waiting) => CoreError::CompilerBusy { plugin, waiting },
            Self::Unavailable(source) => {
                CoreError::CompilerUnavailable { source: io::Error::new(source.kind(), source) }
            }
            Self::Bytes => Self::lost().explain(&plugin),
        }
    }
}
