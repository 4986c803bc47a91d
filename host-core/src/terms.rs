//! On which terms a plugin runs: the embedder's side of loading it.

use std::{sync::Arc, time::Duration};

use plugin_contract::{Explain, PluginId};
use semver::VersionReq;

use crate::{
    BreakerConfig, CallBudget, CoreError, Description, Plugin, PoisonConfig, PoolConfig, StoreData,
};

/// Decides for a [`Registry`](crate::Registry) what each plugin may have.
pub trait Embedder<T>: Send + Sync + 'static {
    /// Before anything is compiled: may the plugin run, and on which terms? May block.
    ///
    /// # Errors
    /// Whatever keeps it from running; the registry reports it as the plugin's.
    fn terms(&self, plugin: &Description) -> Result<Terms<T>, Box<dyn Explain + Send + Sync>>;

    /// The same, for a plugin whose answers nobody gets, and which is to change nothing.
    ///
    /// # Errors
    /// As for [`Embedder::terms`]. Without a definition of its own: that it cannot be had.
    fn shadow_terms(
        &self,
        plugin: &Description,
    ) -> Result<Terms<T>, Box<dyn Explain + Send + Sync>> {
        Err(Box::new(NoShadow { plugin: plugin.name().clone() }))
    }

    /// What serves under this name may have changed: all versions of it, the oldest first. Told once at a
    /// time, in order; do not block, and do not call the registry.
    fn changed(&self, name: &PluginId, versions: &[Arc<Plugin<T>>]) {
        let _ = (name, versions);
    }
}

/// The embedder knows no terms for shadows.
#[derive(Debug, thiserror::Error)]
#[error("`{plugin}` cannot be tried on mirrored calls here")]
struct NoShadow {
    plugin: PluginId,
}

impl Explain for NoShadow {
    fn code(&self) -> &'static str {
        "core/no-shadow"
    }

    fn remedy(&self) -> &'static str {
        "have the embedder define `shadow_terms`"
    }
}

/// Told of errors.
pub type Watch = Arc<dyn Fn(&CoreError) + Send + Sync>;

/// The terms of one plugin.
#[derive(Clone)]
#[non_exhaustive]
pub struct Terms<T> {
    /// Wall time of a call. Default 30 s.
    pub timeout: Duration,
    /// CPU time of each entry into the guest. Default 10 s.
    pub cpu_time: Duration,
    /// How many instances, and for how long. Default: three. A plugin that exports `state-transfer` has
    /// its state in one: see [`PoolConfig`].
    pub pool: PoolConfig,
    /// Bytes of state that one revision hands to the next. Default 64 MiB.
    pub state_bytes_max: u64,
    /// When calls are refused since the latest ones broke the plugin.
    pub breaker: BreakerConfig,
    /// When an input is refused since it broke the plugin before.
    pub poison: PoisonConfig,
    /// What callers get when the plugin is out of order.
    pub on_failure: OnFailure,
    /// Told of every call and every start that fails, at that moment; must not block. Default: nobody.
    pub watch: Option<Watch>,
    /// Makes the data of a new store.
    pub data: Arc<dyn Fn() -> T + Send + Sync>,
}

impl<T: StoreData> Terms<T> {
    /// Moderate amounts, for stores that hold what `data` makes.
    pub fn new(data: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self {
            timeout: Duration::from_secs(30),
            cpu_time: Duration::from_secs(10),
            pool: PoolConfig::new(3),
            state_bytes_max: 64 << 20,
            breaker: BreakerConfig::default(),
            poison: PoisonConfig::default(),
            on_failure: OnFailure::default(),
            watch: None,
            data: Arc::new(data),
        }
    }

    /// Something failed.
    pub(crate) fn tell(&self, error: &CoreError) {
        if let Some(watch) = &self.watch {
            watch(error);
        }
    }

    /// The budget of a call that begins now.
    pub(crate) fn budget(&self) -> CallBudget {
        CallBudget::new(self.timeout, self.cpu_time)
    }

    /// The same, for what others wait for.
    pub(crate) fn budget_within(&self, most: Duration) -> CallBudget {
        CallBudget::new(self.timeout.min(most), self.cpu_time.min(most))
    }
}

/// What callers of `process` get when the plugin is out of order: it broke, is refused for having broken,
/// or all its instances are busy. A plugin that refuses an input, or is paused, is in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The error. A call either had the plugin's attention, or failed: fail closed.
    #[default]
    Refuse,
    /// The input, unchanged, marked as such: fail open. For plugins that improve what would do without.
    PassThrough,
    /// The answer of the newest other version that this takes, within its own limits, marked as such.
    Fallback(VersionReq),
}
