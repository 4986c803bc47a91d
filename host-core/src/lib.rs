//! From the bytes of a component to a finished call.
//!
//! Read in this order: [`admit`] decides on bytes, [`Runtime::prepare`] compiles and links what was
//! admitted, [`Prepared::instantiate`] makes a store of its own for each [`Instance`], and a call on
//! an instance ends: with an answer, a refusal, a trap, or at its deadline. [`Pool`] keeps instances
//! warm. [`discover`] finds plugins in a directory.
//!
//! Everything is generic over the store data `T`, of which the runtime knows only [`StoreData`].
//! Not here: what a guest may do (`host-security`), what the host offers it (`host-ipc`), and which
//! version answers (`host-deploy`).
//!
//! ```
//! use host_core::{
//!     Admission, CallBudget, EngineSettings, Imports, ProcessCall, Runtime, StoreData, admit,
//! };
//! use std::time::Duration;
//!
//! #[derive(Default)]
//! struct Unlimited(wasmtime::StoreLimits);
//! impl StoreData for Unlimited {
//!     fn limiter(&mut self) -> &mut dyn wasmtime::ResourceLimiter {
//!         &mut self.0
//!     }
//! }
//!
//! async fn shout(bytes: Vec<u8>) -> Result<Vec<u8>, host_core::CoreError> {
//!     let runtime = Runtime::<Unlimited>::builder(EngineSettings::default()).build()?;
//!     let artifact = admit(bytes, None, &Admission::default())?;
//!     let plugin = runtime.prepare(&artifact, &Imports::none()).await?;
//!     let budget = CallBudget::new(Duration::from_secs(5), Duration::from_secs(1));
//!     let mut instance = plugin.start(Unlimited::default(), &[], &budget).await?;
//!     let mut call = ProcessCall::new(b"hello".to_vec(), "text/plain");
//!     Ok(instance.process(&mut call, &budget).await?.output)
//! }
//! ```
#![warn(missing_docs)]

mod admission;
mod batch;
mod code;
mod compose;
mod contract;
mod coredump;
mod dependencies;
mod discover;
mod dynamic;
mod engine;
mod error;
mod guard;
mod instance;
mod link;
mod meter;
mod metrics;
mod peer;
mod place;
mod plugin;
mod pool;
mod prepared;
mod registry;
mod runtime;
mod stream;
mod terms;
mod ticker;
mod trap;

pub use admission::{Admission, Artifact, Description, admit};
pub use batch::{Batch, BatchControl, BatchItem};
pub use code::{
    CacheSettings, CodeMetrics, CodeSettings, CompilerSettings, HelperProgram, compile_helper,
};
pub use contract::{
    Degraded, EventCall, ForeignInterface, Imports, MessageCall, Metadata, Operation, PluginApi,
    PluginStatus, ProcessCall, ProcessReply, StateSnapshot,
};
pub use dependencies::{Node, StartPlan, start_plan};
pub use discover::{Found, discover, read_artifact, read_file};
pub use dynamic::{FunctionCall, FunctionInfo, FunctionReply, JsonCall};
pub use engine::{EngineMetrics, EngineSettings, PoolSettings};
pub use error::{CoreError, DependencyProblem, GuestFrame, TrapKind};
pub use guard::{
    breaker::{BreakerConfig, BreakerState},
    poison::PoisonConfig,
};
pub use instance::{CallBudget, Instance};
pub use metrics::{LatencySnapshot, MetricsSnapshot};
pub use plugin::{HealthSettings, Plugin, PluginState};
pub use plugin_contract::{Caller, Isolation};
pub use pool::{Lease, Pool, PoolConfig, PoolStatus};
pub use prepared::Prepared;
pub use registry::{Loaded, Newcomer, Purpose, Refused, Registry, RegistrySettings, Replaced};
pub use runtime::{MemoryRefused, Runtime, RuntimeBuilder, StoreData};
pub use stream::{StreamBody, StreamCall, StreamInput, StreamInputError, StreamReply};
pub use terms::{Embedder, OnFailure, Terms, Watch};
pub use wasmtime;
