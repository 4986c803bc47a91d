//! Write plugins for the plugin host in Rust: implement a trait, name it in a macro, build for
//! `wasm32-wasip2`.
//!
//! ```
//! use guest_sdk::prelude::*;
//!
//! struct Shout;
//!
//! #[derive(serde::Deserialize, Default)]
//! #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
//! struct Options {
//!     times: Option<u32>,
//! }
//!
//! impl Plugin for Shout {
//!     fn initialize() -> Result<Self> {
//!         log::info!("ready to shout");
//!         Ok(Shout)
//!     }
//! }
//!
//! impl Processor for Shout {
//!     type Options = Options;
//!
//!     fn process(&self, input: Input, options: Options) -> Result<Output> {
//!         let text = input.text()?.to_uppercase();
//!         Ok(Output::text(text.repeat(options.times.unwrap_or(1) as usize)))
//!     }
//! }
//!
//! guest_sdk::processor_plugin!(Shout);
//!
//! // Natively, in a unit test:
//! let mut shout = guest_sdk::testing::Harness::<Shout>::new()?;
//! assert_eq!(shout.process("hey", "text/plain")?.bytes, b"HEY");
//! assert_eq!(guest_sdk::testing::logged()[0].message, "ready to shout");
//! # Ok::<(), guest_sdk::Error>(())
//! ```
//!
//! | world                       | trait                 | macro                          |
//! |-----------------------------|-----------------------|--------------------------------|
//! | `minimal-plugin`            | [`Plugin`]            | [`minimal_plugin!`]            |
//! | `processor-plugin`          | [`Processor`]         | [`processor_plugin!`]          |
//! | `stateful-processor-plugin` | [`StatefulProcessor`] | [`stateful_processor_plugin!`] |
//! | `event-plugin`              | [`EventHandler`]      | [`event_plugin!`]              |
//! | `plugin-world`              | [`FullPlugin`]        | [`plugin_world!`]              |
//! | `action-plugin`             | [`ActionPlugin`]      | [`action_plugin!`]             |
//! | `stream-plugin`             | [`StreamPlugin`]      | [`stream_plugin!`]             |
//! | `message-plugin`            | [`MessageHandler`]    | [`message_plugin!`]            |
//! | `plugin-v1`                 | [`PluginV1`]          | [`plugin_v1!`]                 |
//! | `plugin-v2`                 | [`PluginV2`]          | [`plugin_v2!`]                 |
//!
//! A plugin's name and version are those of its Cargo package, and have to be those of its
//! `plugin.toml`. What a call needs is in [`options`], what the host offers in [`config`],
//! [`mod@env`], [`events`], [`http`], [`messaging`] and [`data_dir`]; the `log` crate goes to the
//! host's log. A component imports from the host only what its code reaches.
//! Not here: packaging and signing (`cargo xtask build-plugins`).

#![warn(missing_docs)]

#[doc(hidden)]
pub mod bindings;
mod error;
pub mod options;
#[doc(hidden)]
pub mod sections;
mod services;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod worlds;

pub use error::{Context, Error, Result};
pub use log;
pub use services::{DirError, config, data_dir, env, events, http, messaging};
pub use worlds::{
    ActionPlugin, ActionResult, Answer, CallContext, Event, EventHandler, FullPlugin,
    IncomingMessage, Input, LogEntry, MessageHandler, Metrics, Output, Plugin, PluginV1, PluginV2,
    Processor, Severity, StatefulProcessor, Status, StreamPlugin, Transform, UserAction, Writer,
    inner,
};

/// What most plugins use, for a glob import.
pub mod prelude {
    pub use crate::{
        ActionPlugin, ActionResult, Answer, CallContext, Context, Error, Event, EventHandler,
        FullPlugin, IncomingMessage, Input, LogEntry, MessageHandler, Metrics, Output, Plugin,
        PluginV1, PluginV2, Processor, Result, Severity, StatefulProcessor, Status, StreamPlugin,
        Transform, UserAction, Writer, bail, ensure, log,
    };
}

/// For the macros of this crate only.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::sections;
    pub use crate::worlds::{Adapter, Exported};
}
