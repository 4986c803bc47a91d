//! The names that host and guest share: ids, versions, digests, the manifest, and how they are
//! carried inside a component; and on whose behalf calls are made.
//!
//! Start at [`Manifest`], what a plugin says of itself, then [`World`], what it offers. With the
//! feature `component`, [`ComponentInfo`] reads both out of a binary without compiling it.
//!
//! Not here: who may have what a manifest asks for (`host-security`), and
//! anything that runs a component (`host-core`).
//!
//! ```
//! use plugin_contract::{Manifest, PluginId};
//!
//! let manifest: Manifest = r#"
//!     [plugin]
//!     name = "image-processor"
//!     version = "0.1.0"
//!     entrypoint = "image-processor.wasm"
//!
//!     [permissions]
//!     memory = "128MB"
//! "#
//! .parse()?;
//! assert_eq!(manifest.plugin.name, PluginId::new("image-processor")?);
//! assert_eq!(manifest.permissions.cpu_time.to_string(), "10s"); // a default
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod address;
mod caller;
mod dependency;
mod digest;
mod event;
mod explain;
mod id;
mod interface;
mod manifest;
mod permission;
mod quantity;
mod text;
mod world;

#[cfg(feature = "component")]
pub mod component;
#[cfg(feature = "component")]
mod features;
#[cfg(feature = "component")]
pub mod section;

pub use address::{Address, MessagePermission};
pub use caller::{CALL_DEPTH_MAX, Caller, RelayRefused};
#[cfg(feature = "component")]
pub use component::{ComponentError, ComponentInfo, Extern, ExternKind, Lane, ReadLimits};
pub use dependency::{Dependency, Link};
pub use digest::{Digest, InvalidDigest};
pub use event::{EVENT_TYPE_BYTES_MAX, is_event_type, is_subscription, subscription_covers};
pub use explain::Explain;
#[cfg(feature = "component")]
pub use features::production_features;
pub use id::{InvalidPluginId, PluginId};
pub use interface::{InterfaceName, InvalidInterfaceName};
pub use manifest::{Deny, Isolation, Manifest, ManifestError, Permissions, PluginSection};
pub use permission::{EnvName, FsAccess, FsPermission, NetAccess, NetPermission, NetTarget};
pub use quantity::{ByteSize, InvalidQuantity, TimeSpan, parse_bytes, parse_duration};
#[cfg(feature = "component")]
pub use section::Embedded;
pub use text::escape;
pub use world::{CONTRACT_VERSION, HOST_API_PACKAGE, SYSTEM_PACKAGE, World};
