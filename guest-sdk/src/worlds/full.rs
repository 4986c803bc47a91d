//! World `plugin-world`: configuration at the start, context with each call, status and metrics.
//!
//! Not here: the plugin that a decorator decorates ([`super::inner`]).

use serde::de::DeserializeOwned;

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::plugin_api as wit;
use crate::{Error, Result, options};

/// What one call is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallContext {
    /// Names the call in logs on both sides.
    pub request_id: String,
    /// On whose behalf, where the caller said so.
    pub user_id: Option<String>,
    /// When the call arrived, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// The options of this call, with `input` and `content-type` among them.
    pub config: Vec<(String, String)>,
}

impl CallContext {
    /// The first value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.config.iter().find_map(|(name, value)| (name == key).then_some(value.as_str()))
    }

    /// The text to work on; empty where there is none.
    #[must_use]
    pub fn input(&self) -> &str {
        self.get("input").unwrap_or_default()
    }

    /// The options, without `input` and `content-type`, as a struct.
    ///
    /// # Errors
    /// A text that names the option and what it takes.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        let own =
            |(name, _): &&(String, String)| !matches!(name.as_str(), "input" | "content-type");
        let pairs: Vec<_> = self.config.iter().filter(own).cloned().collect();
        Ok(options::from_pairs(&pairs)?)
    }
}

/// What the plugin says of its own effort. The host never bills or limits by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Milliseconds spent.
    pub duration_ms: u64,
    /// Bytes of memory in use at the end.
    pub memory_used_bytes: u64,
    /// How many things were worked on.
    pub items_processed: u32,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The result, where there is one.
    pub data: Option<String>,
    /// The plugin's own figures, where it keeps any.
    pub metrics: Option<Metrics>,
}

impl Answer {
    /// An answer with this result.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: Some(data.into()), metrics: None }
    }

    /// The same answer, with figures.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }
}

/// Where a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `initialize` has not been called.
    Uninitialized,
    /// Takes calls.
    Ready,
    /// Works on a call.
    Running,
    /// Takes no calls for now, and will again.
    Paused,
    /// Will not take calls again.
    Errored,
}

/// A plugin with the full set. Description and authors come from the author's `Cargo.toml`.
pub trait FullPlugin: Sized + 'static {
    /// What the operator configured, read as [`crate::options`] are. `()` for nothing.
    type Config: DeserializeOwned;

    /// Makes the plugin. Called once for each instance, before any call.
    ///
    /// # Errors
    /// An error keeps the instance from serving.
    fn initialize(config: Self::Config) -> Result<Self>;

    /// Works on one call.
    ///
    /// # Errors
    /// A text for the caller.
    fn process(&self, ctx: CallContext) -> Result<Answer>;

    /// Where the plugin stands. The host asks between calls.
    fn status(&self) -> Status {
        Status::Ready
    }

    /// Called once when the host retires the instance in good order; not after a trap.
    ///
    /// # Errors
    /// An error is logged by the host; the instance ends all the same.
    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: FullPlugin,
{
    fn initialize(config: Vec<(String, String)>) -> Result<(), String> {
        super::start::<E>(|| FullPlugin::initialize(options::from_pairs(&config)?))
    }

    fn process(ctx: wit::PluginContext) -> wit::PluginResult {
        let ctx = CallContext {
            request_id: ctx.request_id,
            user_id: ctx.user_id,
            timestamp_ms: ctx.timestamp,
            config: ctx.config,
        };
        match super::with::<E, _>(|plugin| plugin.process(ctx)) {
            Ok(answer) => wit::PluginResult {
                success: true,
                data: answer.data,
                error_message: None,
                metrics: answer.metrics.map(|metrics| wit::PluginMetrics {
                    duration_ms: metrics.duration_ms,
                    memory_used_bytes: metrics.memory_used_bytes,
                    items_processed: metrics.items_processed,
                }),
            },
            Err(error) => wit::PluginResult {
                success: false,
                data: None,
                error_message: Some(error.into_wire()),
                metrics: None,
            },
        }
    }

    fn shutdown() -> Result<(), String> {
        super::with::<E, _>(FullPlugin::shutdown).map_err(Error::into_wire)
    }

    fn get_metadata() -> wit::PluginMetadata {
        wit::PluginMetadata {
            name: E::NAME.to_owned(),
            version: E::VERSION.to_owned(),
            description: E::DESCRIPTION.to_owned(),
            author: E::AUTHORS.replace(':', ", "),
        }
    }

    fn get_status() -> wit::PluginStatus {
        let status = super::with::<E, _>(|plugin| Ok(plugin.status()));
        match status.unwrap_or(Status::Uninitialized) {
            Status::Uninitialized => wit::PluginStatus::Uninitialized,
            Status::Ready => wit::PluginStatus::Ready,
            Status::Running => wit::PluginStatus::Running,
            Status::Paused => wit::PluginStatus::Paused,
            Status::Errored => wit::PluginStatus::Errored,
        }
    }
}

/// Exports a [`FullPlugin`] as the world `plugin-world`.
#[macro_export]
macro_rules! plugin_world {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::FullPlugin, PLUGIN_WORLD:
            plugin_api __export_toolsku_plugin_system_plugin_api_1_1_0_cabi
        );
    };
}
