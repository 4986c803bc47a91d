//! How large a pool may grow, and how long its instances live.

use std::time::Duration;

use plugin_contract::Isolation;
use serde::Serialize;

/// The bounds of a pool.
///
/// An instance that has reached `calls_max` or `age_max` shuts down and is replaced when a call needs it.
/// Each draws its own bounds, up to a fifth lower, so that those that started together do not all end
/// together. A trap, a deadline or a cancelled call ends an instance at once.
///
/// A plugin that exports `state-transfer` has one instance, whatever `instances_max` says, which none of
/// these bounds ends; unless each call is to have its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Instances at one time, idle ones included.
    pub instances_max: u32,
    /// Calls that wait for an instance; one more is refused. Default 64.
    pub waiting_max: u32,
    /// Idle instances that stay. Default 1. When the host has no room, they go, too.
    pub warm_min: u32,
    /// Whether calls share instances. Default: they do.
    pub isolation: Isolation,
    /// Time without work after which an instance goes. Default 60 s.
    pub idle_max: Duration,
    /// Calls that one instance answers. Default 100,000.
    pub calls_max: u64,
    /// Life of one instance, to the second. Default 1 h.
    pub age_max: Duration,
    /// Whether what its one instance remembers is worth keeping.
    pub(crate) keeps_state: bool,
}

impl PoolConfig {
    /// A pool of at most `instances_max` instances.
    pub fn new(instances_max: u32) -> Self {
        Self {
            instances_max,
            waiting_max: 64,
            warm_min: 1,
            isolation: Isolation::Shared,
            idle_max: Duration::from_secs(60),
            calls_max: 100_000,
            age_max: Duration::from_secs(3_600),
            keeps_state: false,
        }
    }

    /// The same, for a plugin whose instances hand their state on: there is one, which stays for as long as it
    /// works, whatever its age and however long it has been idle, and makes room for nobody. Where each call
    /// has an instance of its own, there is no state to keep.
    pub(crate) fn keeping_state(self) -> Self {
        match self.isolation {
            Isolation::Shared => Self { instances_max: 1, keeps_state: true, ..self },
            Isolation::PerCall => self,
        }
    }

    /// How long one instance may live.
    pub(super) fn spread_age(&self) -> Duration {
        Duration::from_secs(self.spread(self.age_max.as_secs()))
    }

    /// Up to a fifth less than `bound`, and at least 1.
    pub(super) fn spread(&self, bound: u64) -> u64 {
        (bound - fastrand::u64(0..=bound / 5)).max(1)
    }
}

/// How busy a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PoolStatus {
    /// Instances that work on a call.
    pub busy: u32,
    /// Instances that wait for one.
    pub idle: u32,
    /// Calls that wait for an instance.
    pub waiting: u32,
    /// Instances that were ever started.
    pub started: u64,
    /// Instances that ended, whatever the reason.
    pub retired: u64,
}
