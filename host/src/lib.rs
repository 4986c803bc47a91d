//! The plugin host: where execution, authority, messaging and rollout meet.
//!
//! ```no_run
//! use host::{PluginHost, ProcessCall};
//!
//! # async fn example() -> Result<(), host::HostError> {
//! let host = PluginHost::builder().plugins("dist/plugins").data_dir("data").build().await?;
//! for refused in host.refused() {
//!     eprintln!("{}: {}", refused.path.display(), refused.error);
//! }
//! let call = ProcessCall::new(b"  Hello  ".to_vec(), "text/plain")
//!     .with_option("ops", "trim,lower");
//! let reply = host.process(&"text-transformer".parse()?, call).await?;
//! assert_eq!(reply.output, b"hello");
//! host.shutdown(std::time::Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! Start at [`PluginHost`]. [`http::Server`] puts one on the network. What a plugin may do is decided
//! by the [`Policy`] it is built with. Each part can be had alone: `host-core`, `host-security`,
//! `host-ipc`, `host-deploy`.
#![warn(missing_docs)]

mod audit;
mod builder;
mod config;
mod deploy;
pub mod documents;
mod engine;
mod error;
mod fetch;
pub mod http;
mod inspect;
mod learn;
mod mail;
mod plugin_host;
mod plugin_ref;
mod routes;
mod state;
mod subscribers;
mod terms;
mod watch;

pub use audit::AuditCounts;
pub use builder::{PluginHostBuilder, Storage};
pub use config::{ConfigFileError, HostConfig};
pub use deploy::{
    Asked, Contract, DeployOptions, DeploySettings, Deployed, Difference, ShadowCounts, Then,
    Upload,
};
pub use engine::{check_engine, engine_version};
pub use error::HostError;
pub use host_core::{
    Admission, Batch, BatchControl, BatchItem, BreakerState, CacheSettings, Caller, CodeSettings,
    CompilerSettings, CoreError, Degraded, EngineMetrics, EngineSettings, EventCall, FunctionCall,
    FunctionInfo, FunctionReply, HealthSettings, HelperProgram, JsonCall, LatencySnapshot,
    MessageCall, MetricsSnapshot, OnFailure, Operation, PluginState, PoolSettings, PoolStatus,
    ProcessCall, ProcessReply, StreamBody, StreamCall, StreamInput, StreamInputError, StreamReply,
};
pub use host_deploy::{
    Deployment, Plan, PluginStorage, PluginVersion, Record, Retention, Rollout, Shadow, Share,
    Status, Stay, verdict,
};
pub use host_ipc::{
    BusCounts, BusSettings, DeadLetter, DeadLetterPage, Event, EventLog, EventLogLimits, EventPage,
    Settled, channel,
};
pub use host_security::{Answer, Authority, Ceilings, Decision, Grant, Limits, Policy, Rules};
pub use inspect::{Counts, Inspection, Verdict, chain, inspect};
pub use learn::{Learned, Refusal};
pub use plugin_contract::{Explain, PluginId, World};
pub use plugin_host::{
    Answered, Delivery, DeployCounts, DeploymentStatus, PluginHost, PluginInfo, PluginMetrics,
    Refused, RolloutStatus,
};
pub use plugin_ref::{InvalidPluginRef, PluginRef};
pub use terms::PluginSettings;
pub use watch::{WatchSettings, Watching};

/// Runs what blocks (files) where that harms nobody.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, HostError> + Send + 'static,
) -> Result<R, HostError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The runtime goes down.
        Err(error) => Err(CoreError::Engine(error.into()).into()),
    }
}
