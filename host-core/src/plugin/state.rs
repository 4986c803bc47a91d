//! Whether a plugin serves, and what it takes to get it there.
//!
//! ```text
//! registered -> starting -> serving <-> paused
//!                  |  ^        |
//!                  v  |        v            a check or a start that failed
//!                recovering <--+--> quarantined     too many of them in a row
//!                  failed                   what it is does not fit: no use in trying again
//! ```
//! From all of them, unloading leads to `unloaded`, and loading back to `starting`.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use plugin_contract::Dependency;
use tokio::{runtime::Handle, time::Instant};

use super::{Active, Plugin};
use crate::{CoreError, DependencyProblem, StoreData, registry::Shelf};

/// Where a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginState {
    /// Known. Where plugins are loaded when needed, the first call starts it.
    Registered,
    /// Being compiled, linked and initialised.
    Starting,
    /// Takes calls.
    Serving,
    /// Says that it takes no calls for now.
    Paused,
    /// Failed, and will be started again.
    Recovering,
    /// Failed again and again, and is left alone for long.
    Quarantined,
    /// Does not fit this host. Reload it when it was mended.
    Failed,
    /// Was unloaded.
    Unloaded,
}

impl PluginState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Registered,
        Self::Starting,
        Self::Serving,
        Self::Paused,
        Self::Recovering,
        Self::Quarantined,
        Self::Failed,
        Self::Unloaded,
    ];

    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Paused => "paused",
            Self::Recovering => "recovering",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
            Self::Unloaded => "unloaded",
        }
    }
}

/// Who asks for a plugin to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// An operator: whatever has become of it.
    Operator,
    /// A load, or a plugin that needs it: if it was never started.
    Need,
    /// Maintenance: if it has failed, and its time has come.
    Retry,
    /// A call: if plugins are started by calls.
    Call,
}

/// A start under way; all who wait for it see how it ends.
type Start = Shared<BoxFuture<'static, Result<(), Arc<CoreError>>>>;

pub(super) enum State<T: 'static> {
    Registered,
    Starting {
        number: u64,
        start: Start,
    },
    Serving(Arc<Active<T>>),
    Paused(Arc<Active<T>>),
    Recovering {
        retry_at: Instant,
        error: Arc<CoreError>,
    },
    Quarantined {
        until: Instant,
        error: Arc<CoreError>,
    },
    Failed {
        error: Arc<CoreError>,
    },
    Unloaded,
    /// Another revision has taken its place.
    Replaced,
}

impl<T: StoreData> Plugin<T> {
    /// Where it stands.
    pub fn state(&self) -> PluginState {
        match &*self.lock() {
            State::Registered => PluginState::Registered,
            State::Starting { .. } => PluginState::Starting,
            State::Serving(_) => PluginState::Serving,
            State::Paused(_) => PluginState::Paused,
            State::Recovering { .. } => PluginState::Recovering,
            State::Quarantined { .. } => PluginState::Quarantined,
            State::Failed { .. } => PluginState::Failed,
            State::Unloaded | State::Replaced => PluginState::Unloaded,
        }
    }

    /// What went wrong, if that is why it does not serve.
    pub fn trouble(&self) -> Option<Arc<CoreError>> {
        match &*self.lock() {
            State::Recovering { error, .. }
            | State::Quarantined { error, .. }
            | State::Failed { error } => Some(error.clone()),
            _ => None,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its instances, if it was started, paused or not.
    pub(crate) fn active(&self) -> Option<Arc<Active<T>>> {
        match &*self.lock() {
            State::Serving(active) | State::Paused(active) => Some(active.clone()),
            _ => None,
        }
    }

    /// Its instances, if it takes calls; started first where that is due.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<Arc<Active<T>>, CoreError> {
        if let Some(active) = self.serving.load_full() {
            return Ok(active);
        }
        self.begin(Ask::Call)?.await.map_err(CoreError::Shared)?;
        match self.serving.load_full() {
            Some(active) => Ok(active),
            // Taken out of service as soon as it was started; whoever looks again is told why.
            None => Err(CoreError::Retired { plugin: self.name().clone() }),
        }
    }

    fn is_lazy(&self) -> bool {
        self.shelf.upgrade().is_some_and(|shelf| shelf.settings.lazy)
    }

    /// Starts it, unless it is started or starting. A caller that goes away does not end the start.
    pub(crate) fn start(self: &Arc<Self>, ask: Ask) -> Start {
        self.begin(ask).unwrap_or_else(|error| {
            let error = Arc::new(error);
            async { Err(error) }.boxed().shared()
        })
    }

    /// The start to wait for, or why there is none for those who ask so. Decided and done under one lock.
    fn begin(self: &Arc<Self>, ask: Ask) -> Result<Start, CoreError> {
        let now = Instant::now();
        let plugin = || self.name().clone();
        let by_operator = ask == Ask::Operator;
        let is_due = |at: Instant| by_operator || (ask == Ask::Retry && at <= now);
        let mut state = self.lock();
        match &*state {
            State::Starting { start, .. } => return Ok(start.clone()),
            State::Paused(_) if ask == Ask::Call => {
                return Err(CoreError::Paused { plugin: plugin() });
            }
            State::Serving(_) | State::Paused(_) => return Ok(async { Ok(()) }.boxed().shared()),
            State::Replaced => return Err(CoreError::Retired { plugin: plugin() }),
            State::Registered if ask != Ask::Call || self.is_lazy() => {}
            // What an operator has unloaded comes back when an operator says so.
            State::Unloaded if by_operator => {}
            State::Registered | State::Unloaded => {
                return Err(CoreError::NotLoaded { plugin: plugin() });
            }
            State::Failed { .. } if by_operator => {}
            State::Failed { error } => return Err(CoreError::Shared(error.clone())),
            State::Recovering { retry_at: at, .. } | State::Quarantined { until: at, .. }
                if is_due(*at) => {}
            State::Recovering { retry_at, error } => {
                return Err(CoreError::Recovering {
                    plugin: plugin(),
                    retry_after: retry_at.saturating_duration_since(now),
                    source: error.clone(),
                });
            }
            State::Quarantined { until, error } => {
                return Err(CoreError::Quarantined {
                    plugin: plugin(),
                    retry_after: until.saturating_duration_since(now),
                    source: error.clone(),
                });
            }
        }
        // A start that ends late must not be taken for the next one.
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let this = self.clone();
        let task = tokio::spawn(async move { this.run_start(number).await });
        let start = async move {
            // The executor goes down.
            let engine = |error: tokio::task::JoinError| CoreError::Engine(error.into());
            task.await.unwrap_or_else(|error| Err(Arc::new(engine(error))))
        };
        let start = start.boxed().shared();
        *state = State::Starting { number, start: start.clone() };
        Ok(start)
    }

    async fn run_start(self: Arc<Self>, number: u64) -> Result<(), Arc<CoreError>> {
        let result = match self.shelf.upgrade() {
            // A plugin on which the compiler panics is to end as failed, not to start for ever.
            Some(shelf) => match AssertUnwindSafe(self.try_start(&shelf)).catch_unwind().await {
                Ok(result) => result,
                Err(_) => Err(CoreError::Engine(wasmtime::Error::msg("a start panicked"))),
            },
            None => Err(CoreError::Retired { plugin: self.name().clone() }),
        };
        let is_this = |state: &State<T>| matches!(state, State::Starting { number: now, .. } if *now == number);
        let outcome = match result {
            Ok(active) => {
                let active = Arc::new(active);
                let mut state = self.lock();
                if is_this(&state) {
                    // What broke the instances before says nothing of these.
                    self.breaker.close();
                    *state = State::Serving(active.clone());
                    self.serving.store(Some(active));
                    tracing::info!(plugin = %self.name(), version = %self.version(), "a plugin serves");
                    Ok(())
                } else {
                    // It was unloaded meanwhile, and what was started goes.
                    Err(Arc::new(CoreError::Retired { plugin: self.name().clone() }))
                }
            }
            Err(error) => {
                self.terms.tell(&error);
                let error = Arc::new(error);
                self.put_down(error.clone(), is_this);
                Err(error)
            }
        };
        self.tell();
        outcome
    }

    /// Has those who route calls look at it anew.
    pub(super) fn tell(&self) {
        if let Some(shelf) = self.shelf.upgrade() {
            shelf.changed(self.name());
        }
    }

    async fn try_start(self: &Arc<Self>, shelf: &Arc<Shelf<T>>) -> Result<Active<T>, CoreError> {
        if shelf.is_closing() {
            return Err(CoreError::Retired { plugin: self.name().clone() });
        }
        for (needs, Dependency { version: wanted, .. }) in &self.description.manifest.dependencies {
            let failed = |problem| CoreError::Dependency {
                plugin: self.name().clone(),
                needs: needs.clone(),
                wanted: wanted.clone(),
                problem,
            };
            let dependency =
                shelf.find(needs, wanted).ok_or_else(|| failed(DependencyProblem::Missing))?;
            dependency.start(Ask::Need).await.map_err(|_| failed(DependencyProblem::Failed))?;
        }
        // After the dependencies: who waits for another's start must not keep it from starting.
        // The semaphore is never closed.
        let _turn = shelf.starts.acquire().await;
        self.make_active(shelf).await
    }

    /// It failed: decides when to try again. Nothing happens unless it is still `in_state`. Instances that
    /// were there finish their calls and go.
    pub(super) fn put_down(&self, error: Arc<CoreError>, in_state: impl FnOnce(&State<T>) -> bool) {
        let Some(shelf) = self.shelf.upgrade() else { return };
        let health = &shelf.settings.health;
        let now = Instant::now();
        let mut state = self.lock();
        if !in_state(&state) {
            return;
        }
        // Only what it did itself brings it nearer to quarantine.
        let blamed = u32::from(error.is_breakage());
        let failures = self.failures.fetch_add(blamed, Ordering::Relaxed) + blamed;
        let next = if !error.may_pass() {
            State::Failed { error }
        } else if failures >= health.failures_max {
            tracing::warn!(plugin = %self.name(), failures, "a plugin keeps failing: quarantined");
            State::Quarantined { until: later(now, jittered(health.quarantine)), error }
        } else {
            let doubled = 1_u32 << failures.saturating_sub(1).min(20);
            let wait = health.backoff_min.saturating_mul(doubled).min(health.backoff_max);
            State::Recovering { retry_at: later(now, jittered(wait)), error }
        };
        let old = self.leave(&mut state, next);
        drop(state);
        if let (Some(active), Ok(handle)) = (old, Handle::try_current()) {
            let deadline = later(now, health.drain_max);
            handle.spawn(async move { active.retire(deadline).await });
        }
    }

    /// Gives it a state in which it takes no calls. Returns the instances it had.
    fn leave(&self, state: &mut State<T>, next: State<T>) -> Option<Arc<Active<T>>> {
        // Under the lock, so that nobody puts it back between the two.
        self.serving.store(None);
        match std::mem::replace(state, next) {
            State::Serving(active) | State::Paused(active) => Some(active),
            _ => None,
        }
    }

    /// Takes it out of service, lets calls under way end until `deadline`, and shuts its instances down.
    /// Returns the number of calls that were still under way then.
    pub(crate) async fn unload(&self, deadline: Instant) -> u32 {
        tracing::info!(plugin = %self.name(), version = %self.version(), "a plugin is unloaded");
        self.take_out(State::Unloaded, deadline).await
    }

    /// The same, for a revision in whose place another serves already.
    pub(crate) async fn retire(&self, deadline: Instant) -> u32 {
        self.take_out(State::Replaced, deadline).await
    }

    async fn take_out(&self, next: State<T>, deadline: Instant) -> u32 {
        let old = self.leave(&mut self.lock(), next);
        // Before the calls under way end: others go to whoever serves now.
        self.tell();
        match old {
            Some(active) => active.retire(deadline).await,
            None => 0,
        }
    }

    /// Starts it if it failed and its time has come.
    pub(crate) fn retry_if_due(self: &Arc<Self>) {
        let failed = matches!(*self.lock(), State::Recovering { .. } | State::Quarantined { .. });
        if failed {
            // Not yet due is no news.
            let _ = self.begin(Ask::Retry);
        }
    }

    /// Forgets that it was unloaded. Returns whether it was.
    pub(crate) fn revive(&self) -> bool {
        let mut state = self.lock();
        let was = matches!(*state, State::Unloaded);
        if was {
            *state = State::Registered;
        }
        was
    }

    pub(super) fn pause(&self, active: &Arc<Active<T>>) {
        let mut state = self.lock();
        if matches!(&*state, State::Serving(now) if Arc::ptr_eq(now, active)) {
            tracing::info!(plugin = %self.name(), "a plugin has paused");
            *state = State::Paused(active.clone());
            self.serving.store(None);
        }
    }

    pub(super) fn resume(&self, active: &Arc<Active<T>>) {
        let mut state = self.lock();
        if matches!(&*state, State::Paused(now) if Arc::ptr_eq(now, active)) {
            tracing::info!(plugin = %self.name(), "a plugin has resumed");
            *state = State::Serving(active.clone());
            self.serving.store(Some(active.clone()));
        }
    }
}

/// `wait` from `now`; for ever is a year.
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    now + wait.min(YEAR)
}

/// `wait`, and up to a fifth more: what failed together is not to come back together.
fn jittered(wait: Duration) -> Duration {
    wait.saturating_add((wait / 5).min(Duration::from_secs(3_600)).mul_f64(fastrand::f64()))
}
