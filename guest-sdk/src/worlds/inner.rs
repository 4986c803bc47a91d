//! The plugin that a decorator decorates: the one under `[dependencies]` in its manifest.
//!
//! Only for plugins of the world `plugin-world`. An inner plugin in stores of its own is started and
//! stopped by the host. One that is composed with this plugin is initialised here, without
//! configuration, when it is first used. A plugin that calls none of these does not import `plugin-api`.
//!
//! Natively [`crate::testing::set_inner`] says what the inner plugin answers.

use super::full::{Answer, CallContext, Status};
use crate::Result;

/// Has the inner plugin work on a call.
///
/// # Errors
/// What the inner plugin answered as its error.
pub fn process(ctx: &CallContext) -> Result<Answer> {
    backend::process(ctx)
}

/// Where the inner plugin stands.
#[must_use]
pub fn status() -> Status {
    backend::status()
}

/// Name and version of the inner plugin.
#[must_use]
pub fn metadata() -> (String, String) {
    backend::metadata()
}

#[cfg(target_family = "wasm")]
mod backend {
    use std::cell::Cell;

    use crate::bindings::toolsku::plugin_system::plugin_api as wit;
    use crate::{Answer, CallContext, Error, Metrics, Result, Status};

    /// Once for each instance. Where the host has done it already, it answers that all is well.
    fn initialize() -> Result<()> {
        thread_local! {
            static INITIALIZED: Cell<bool> = const { Cell::new(false) };
        }
        if !INITIALIZED.get() {
            wit::initialize(&[]).map_err(Error::msg)?;
            INITIALIZED.set(true);
        }
        Ok(())
    }

    pub(super) fn process(ctx: &CallContext) -> Result<Answer> {
        initialize()?;
        let result = wit::process(&wit::PluginContext {
            request_id: ctx.request_id.clone(),
            user_id: ctx.user_id.clone(),
            timestamp: ctx.timestamp_ms,
            config: ctx.config.clone(),
        });
        if !result.success {
            let message =
                result.error_message.unwrap_or_else(|| "failed without a reason".to_owned());
            return Err(Error::msg(message));
        }
        let metrics = result.metrics.map(|metrics| Metrics {
            duration_ms: metrics.duration_ms,
            memory_used_bytes: metrics.memory_used_bytes,
            items_processed: metrics.items_processed,
        });
        Ok(Answer { data: result.data, metrics })
    }

    pub(super) fn status() -> Status {
        if initialize().is_err() {
            return Status::Errored;
        }
        match wit::get_status() {
            wit::PluginStatus::Uninitialized => Status::Uninitialized,
            wit::PluginStatus::Ready => Status::Ready,
            wit::PluginStatus::Running => Status::Running,
            wit::PluginStatus::Paused => Status::Paused,
            wit::PluginStatus::Errored => Status::Errored,
        }
    }

    pub(super) fn metadata() -> (String, String) {
        let metadata = wit::get_metadata();
        (metadata.name, metadata.version)
    }
}

#[cfg(not(target_family = "wasm"))]
mod backend {
    use crate::{Answer, CallContext, Result, Status, testing};

    pub(super) fn process(ctx: &CallContext) -> Result<Answer> {
        testing::call_inner(ctx)
    }

    pub(super) fn status() -> Status {
        Status::Ready
    }

    pub(super) fn metadata() -> (String, String) {
        ("inner".to_owned(), "0.0.0".to_owned())
    }
}
