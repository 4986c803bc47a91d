//! Which revision of a plugin answers which call.
//!
//! | start at | for |
//! |---|---|
//! | [`Router`] | who answers a call: the revision that serves, or the canary beside it |
//! | [`Rollout`] | a canary on its way: the next step, all calls, or back |
//! | [`verdict`] | whether a canary does harm, by its calls, while they arrive |
//! | [`Deployment`] | the versions of a plugin, and which steps lead from one state to the next |
//! | [`storage`] | where all of that is kept |
//! | [`compat`], [`PermissionDiff`] | what an upgrade changes for callers, and what it asks for beyond before |
//!
//! Decisions are made on values: no wasmtime, no files, no clock. Whoever embeds this tells it of calls and of
//! time, and does what it decides; what a revision is made of is theirs, too. Here, two closures:
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use host_deploy::{
//!     Decision, Key, Plan, Revision, Rollout, Router, Share, Split, SplitKey,
//!     verdict::{Outcome, VerdictSettings},
//! };
//!
//! type Answer = fn(u32) -> Result<u32, String>;
//! let revision = |version: &str| Revision {
//!     plugin: "squarer".parse().unwrap(),
//!     version: version.parse().unwrap(),
//!     digest: plugin_contract::Digest::from_bytes([0; 32]),
//! };
//! let router = Router::<Answer>::new(revision("1.0.0"), |x| Ok(x * x));
//!
//! // The canary gets a twentieth of the calls, then a quarter, and then it serves; unless it does harm.
//! let steps = ["5%", "25%", "100%"].map(|share| share.parse().unwrap()).to_vec();
//! let plan = Plan::new(steps, Duration::from_secs(60), VerdictSettings::default())?;
//! let mut rollout = Rollout::new(semver::Version::new(1, 1, 0), plan);
//! let key = SplitKey::from_bytes(*b"a random secret!");
//! let split = |share: Share| Split::new(&key, b"squarer 1.1.0", share);
//! let canary: Answer = |x| if x % 3 == 0 { Err("no threes".into()) } else { Ok(x * x) };
//! router.set_canary(revision("1.1.0"), canary, split(rollout.share()))?;
//!
//! let mut calls = 0_u32..;
//! let ended = loop {
//!     let call = calls.next().unwrap();
//!     let answer = router.route(Key { id: &call.to_le_bytes(), pin: None })?;
//!     let (since, failed) = (Instant::now(), answer(call).is_err());
//!     if let Some(arm) = answer.counted_arm() {
//!         rollout.observe(arm, Outcome { failed, latency: since.elapsed() });
//!     }
//!     rollout.pass(Duration::from_millis(1)); // a thousand calls a second
//!     match rollout.decide() {
//!         Decision::Stay(_) => {}
//!         Decision::Advance => {
//!             rollout.advance();
//!             router.set_split(split(rollout.share()));
//!         }
//!         Decision::Promote => break router.promote().map(|old| (old, "promoted".to_owned())),
//!         Decision::RollBack(harm) => break router.withdraw().map(|old| (old, harm.to_string())),
//!     }
//! };
//! let (taken_back, why) = ended.unwrap();
//! assert_eq!(taken_back.revision(), &revision("1.1.0"), "{why}");
//! assert!(router.route(Key::default())?(3).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the feature `embedded` there is a store in a directory ([`storage`]): the one part that knows files.
#![warn(missing_docs)]

pub mod compat;
mod deployment;
mod permissions;
mod rollout;
mod router;
mod share;
mod split;
mod status;
pub mod storage;
pub mod verdict;

pub use deployment::{
    Artifact, Change, Command, Deployment, Illegal, Note, PluginVersion, Record, Retention, Shadow,
};
pub use permissions::PermissionDiff;
pub use rollout::{Decision, InvalidPlan, Plan, Rollout, Stay};
pub use router::{Closed, Draining, Key, Lease, Revision, Router};
pub use share::{Share, ShareError};
pub use split::{Split, SplitKey, SplitKeyError};
pub use status::{Event, Status};
pub use storage::PluginStorage;
