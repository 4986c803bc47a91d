//! What a plugin may do, and how much of it.
//!
//! A plugin's manifest makes a [`Request`]. The operator's [`Policy`] answers it with a [`Grant`],
//! the only thing that carries authority: its fields are private and [`Policy::grant`] is its one
//! constructor. `enforce` then applies a grant to a wasmtime store.
//!
//! Without the default feature `enforce` this crate knows no wasmtime, so a build can lint manifests:
//!
//! ```
//! use host_security::{Policy, Request};
//! use plugin_contract::Manifest;
//!
//! let manifest: Manifest = r#"
//!     [plugin]
//!     name = "greedy"
//!     version = "0.1.0"
//!     entrypoint = "greedy.wasm"
//!     [permissions]
//!     memory = "8GB"
//!     env = ["HOME"]
//! "#
//! .parse()?;
//! let request = Request::from_manifest(&manifest)?;
//! let grant = Policy::default().grant(&request);
//! for decision in grant.decisions().iter().filter(|decision| !decision.is_granted()) {
//!     println!("{decision}");
//! }
//! assert_eq!(grant.limits().memory_bytes, 256_000_000); // lowered to the operator's ceiling
//! assert!(grant.env().is_empty()); // denied: no rule grants it
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: which manifest belongs to which component (`host-core`), and what a host service does
//! with the authority it is given (`host-ipc`).
#![warn(missing_docs)]

#[cfg(feature = "enforce")]
pub mod enforce;
mod limits;
mod permission;
mod policy;
mod request;
mod units;

pub use limits::Limits;
pub use permission::{FsAccess, FsPermission, NetAccess, NetPermission, NetTarget};
pub use policy::{Decision, Grant, Outcome, Policy};
pub use request::{InvalidPermission, Request};
pub use units::{InvalidQuantity, parse_bytes, parse_duration};
