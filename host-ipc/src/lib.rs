//! What guests and their host say to each other: services, messages, events.
//!
//! Serves `toolsku:host-api` to any [`Linker<T>`](wasmtime::component::Linker), and carries [messages](channel)
//! and [events](EventBus) between plugins and the host. Keep an [`IpcCtx`] in the store's data, show where it
//! is, and link:
//!
//! ```
//! use host_ipc::{EventBus, EventLog, IpcCtx, IpcView, channel::Exchange};
//! use host_ipc::{Event, Subscriber, Undelivered};
//! use plugin_contract::Caller;
//! use wasmtime::component::{Linker, ResourceTable};
//! use wasmtime::{Engine, Store};
//!
//! struct Mine {
//!     ipc: IpcCtx,
//!     table: ResourceTable,
//! }
//!
//! struct Print;
//!
//! #[async_trait::async_trait]
//! impl Subscriber for Print {
//!     async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
//!         println!("{}: {}", event.source, event.payload);
//!         Ok(())
//!     }
//! }
//!
//! let engine = Engine::default();
//! let mut linker = Linker::<Mine>::new(&engine);
//! host_ipc::add_to_linker(&mut linker, |mine| IpcView { ctx: &mut mine.ipc, table: &mut mine.table })?;
//!
//! let bus = EventBus::new(Default::default(), EventLog::new(Default::default()));
//! bus.subscribe("printer".parse()?, vec!["log.*".to_owned()], std::sync::Arc::new(Print));
//! let exchange = Exchange::new(Default::default());
//! let ipc = IpcCtx::builder("my-plugin".parse()?, "0.1.0")
//!     .events(bus.source("my-plugin".parse()?))
//!     .messages(exchange.sender("my-plugin".parse()?), std::sync::Arc::new(|_| Ok(())))
//!     .build();
//! let mut store = Store::new(&engine, Mine { ipc, table: ResourceTable::new() });
//! // Before each call: whose it is. The shares of a call begin anew with it.
//! store.data_mut().ipc.begin_call(Caller::new("req-1".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is not configured answers guests with `not-available`, never with a pretended success.
//! Not here: who may use which service (`host-security`), and when guests run (`host-core`).
#![warn(missing_docs)]

mod bindings;
mod bus;
pub mod channel;
mod config;
mod ctx;
mod events;
mod http;
mod limit;
mod log;
mod messaging;
mod services;
mod stdio;

pub use bus::{
    BusCounts, BusSettings, DeadLetter, DeadLetterPage, EventBus, EventSource, Published, Retry,
    Settled, Subscriber, SubscriberCounts, Undelivered,
};
pub use config::{ConfigError, ConfigLimits, ConfigStore, MemoryConfigStore, RedbConfigStore};
pub use ctx::{INTERFACES, IpcCtx, IpcCtxBuilder, IpcView, add_to_linker};
pub use events::{EmitRefused, Event, EventLog, EventLogLimits, EventPage, Origin, OriginTooLong};
pub use http::{HttpFailure, HttpFetch, HttpMethod, HttpReply, HttpRequest};
pub use limit::LimitReached;
pub use log::{LogLimits, PluginLog};
pub use messaging::MayReach;
pub use stdio::GuestOutput;
