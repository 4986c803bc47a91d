//! Which revision of a plugin answers which call.
//!
//! [`Router`] holds the revision that serves, hands out a [`Lease`] on it to each call, and lets an
//! old revision [drain](Draining) when a new one takes over: no call sees the change. What a
//! revision is made of is the embedder's, so this works for anything with a handle:
//!
//! ```
//! use host_deploy::{Revision, Router};
//! use plugin_contract::Digest;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let revision = |version: &str| Revision {
//!     plugin: "greeter".parse().unwrap(),
//!     version: version.parse().unwrap(),
//!     digest: Digest::from_bytes([0; 32]),
//! };
//! type Greet = fn(&str) -> String;
//! let router = Router::<Greet>::new(revision("1.0.0"), |name| format!("hello {name}"));
//! let call = router.route().unwrap();
//!
//! let old = router.activate(revision("1.0.1"), |name| format!("good day {name}")).unwrap();
//! assert_eq!(router.route().unwrap()("you"), "good day you");
//!
//! assert_eq!(call("you"), "hello you"); // under way when the change came
//! drop(call);
//! old.drained().await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! No wasmtime, no files, no clock. [`compat`] says what a change of contract means for plugins that
//! are there already.
#![warn(missing_docs)]

pub mod compat;
mod router;
mod share;
mod split;
pub mod verdict;

pub use router::{Closed, Draining, Lease, Revision, Router};
pub use share::{Share, ShareError};
pub use split::{Split, SplitKey, SplitKeyError};
