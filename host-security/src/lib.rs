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
//! let grant = Policy::default().grant(&Request::from_manifest(&manifest));
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

pub mod audit;
#[cfg(feature = "enforce")]
pub mod enforce;
mod grant;
mod hex;
mod limits;
mod policy;
mod request;
mod rules;
pub mod sign;

pub use audit::{AuditSink, Auditor};
pub use grant::{Answer, DATA_DIR, Decision, Grant, Mount};
pub use limits::Limits;
pub use policy::{Authority, Ceilings, GuestPath, Policy, Rules};
pub use request::Request;
pub use rules::{Denial, Destination, FsRules, MessageRules, NetRules, Rights, special_range};
