//! Warm instances of one plugin, one call at a time each.
//!
//! A call takes a permit, then an instance that waits for work, or a new one. What it leaves behind
//! decides what becomes of the instance: back to those who wait, or retired. Permits travel with
//! instances to their very end, so there are never more instances than permits.
//! Not here: whether a plugin should be called at all (`plugin`).

mod config;
mod crowd;
mod exclusive;
mod reaper;
mod warm;

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use plugin_contract::{Explain as _, Isolation};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::Instant,
};

use crate::{CallBudget, CoreError, Instance, Prepared, StoreData, place::Place, plugin::later};

pub use config::{PoolConfig, PoolStatus};
pub(crate) use crowd::Crowd;
pub(crate) use exclusive::Exclusive;
pub(crate) use reaper::Reaper;

/// Longest time for an instance to shut down when it is retired.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// The instances of one revision. Cheap to clone.
pub struct Pool<T: 'static> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

pub(crate) struct Inner<T: 'static> {
    prepared: Prepared<T>,
    data: Box<dyn Fn() -> T + Send + Sync>,
    config: PoolConfig,
    /// One permit for each instance that may exist. Gives permits in the order they were asked for.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// The last one back is the first to go out: its memory is still in the caches.
    idle: Mutex<Vec<Idle<T>>>,
    started: AtomicU64,
    retired: AtomicU64,
    /// What its instance remembered, that of another revision does.
    handed_over: AtomicBool,
}

/// An instance, and for how much longer it may be used.
struct Worker<T: 'static> {
    instance: Instance<T>,
    calls_left: u64,
    retire_at: Instant,
}

struct Idle<T: 'static> {
    worker: Worker<T>,
    since: Instant,
}

impl<T: StoreData> Pool<T> {
    /// An empty pool. `data` makes the data of a new store; instances are made when calls need them.
    pub fn new(
        prepared: Prepared<T>,
        config: PoolConfig,
        data: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(config.instances_max as usize));
        let inner = Arc::new(Inner {
            prepared,
            data: Box::new(data),
            config,
            permits,
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            started: AtomicU64::new(0),
            retired: AtomicU64::new(0),
            handed_over: AtomicBool::new(false),
        });
        inner.prepared.crowd().join(&inner);
        Self { inner }
    }

    /// The plugin whose instances these are.
    pub fn prepared(&self) -> &Prepared<T> {
        &self.inner.prepared
    }

    /// An instance for one call: a warm one, or a new one that has initialised. Waits its turn if
    /// all are busy, until the deadline of `budget`; turns come in the order of asking.
    ///
    /// # Errors
    /// `core/overloaded` if too many wait already, or none came free in time; `core/retired`; those of
    /// [`Prepared::start`] if a new one could not be made.
    pub async fn lease(&self, budget: &CallBudget) -> Result<Lease<T>, CoreError> {
        let (permit, queued) = match self.inner.permits.clone().try_acquire_owned() {
            Ok(permit) => (permit, false),
            Err(TryAcquireError::NoPermits) => (self.queue(budget).await?, true),
            Err(TryAcquireError::Closed) => {
                return Err(CoreError::Retired { plugin: self.inner.prepared.plugin().clone() });
            }
        };
        let warm = self.inner.idle().pop();
        let (worker, waited) = match warm {
            Some(idle) => (idle.worker, queued),
            None => (self.start(budget).await?, true),
        };
        Ok(Lease { worker: Some(worker), permit: Some(permit), pool: self.clone(), waited })
    }

    /// An instance that waits for work, if there is one. Starts none and waits for none.
    pub(crate) fn lease_idle(&self) -> Option<Lease<T>> {
        let permit = self.inner.permits.clone().try_acquire_owned().ok()?;
        let idle = self.inner.idle().pop()?;
        let (worker, permit) = (Some(idle.worker), Some(permit));
        Some(Lease { worker, permit, pool: self.clone(), waited: false })
    }

    /// A new instance, in the place of one that was just taken out.
    pub(crate) async fn lease_new(&self, budget: &CallBudget) -> Result<Lease<T>, CoreError> {
        let permit = self.queue(budget).await?;
        if self.inner.config.keeps_state {
            // Whoever came first has made it: there are never two.
            let idle = self.inner.idle().pop();
            if let Some(Idle { worker, .. }) = idle {
                let (worker, permit) = (Some(worker), Some(permit));
                return Ok(Lease { worker, permit, pool: self.clone(), waited: true });
            }
        }
        // Its place may have been taken meanwhile: then another one makes room.
        let status = self.inner.status();
        if status.busy + status.idle > self.inner.config.instances_max {
            self.inner.drop_oldest();
        }
        let worker = Some(self.start(budget).await?);
        Ok(Lease { worker, permit: Some(permit), pool: self.clone(), waited: true })
    }

    async fn queue(&self, budget: &CallBudget) -> Result<OwnedSemaphorePermit, CoreError> {
        let plugin = || self.inner.prepared.plugin().clone();
        let overloaded = || CoreError::Overloaded {
            plugin: plugin(),
            instances: self.inner.config.instances_max,
        };
        let permits = &self.inner.permits;
        let Some(_place) = Place::take(&self.inner.waiting, self.inner.config.waiting_max as usize)
        else {
            return Err(overloaded());
        };
        match tokio::time::timeout_at(budget.deadline(), permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(CoreError::Retired { plugin: plugin() }),
            Err(_) => Err(overloaded()),
        }
    }

    async fn start(&self, budget: &CallBudget) -> Result<Worker<T>, CoreError> {
        match self.make(budget).await {
            // Others may hold room that they do not need.
            Err(CoreError::HostExhausted { .. }) if self.inner.prepared.crowd().make_room() > 0 => {
                self.make(budget).await
            }
            other => other,
        }
    }

    async fn make(&self, budget: &CallBudget) -> Result<Worker<T>, CoreError> {
        let inner = &self.inner;
        let manifest = inner.prepared.manifest();
        let config: Vec<_> = manifest.config.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let instance = inner.prepared.start((inner.data)(), &config, budget).await?;
        inner.started.fetch_add(1, Ordering::Relaxed);
        let config = &inner.config;
        Ok(Worker {
            instance,
            calls_left: config.spread(config.calls_max),
            retire_at: later(Instant::now(), config.spread_age()),
        })
    }

    /// Takes no further calls. Waits for those that were here first, then lets idle instances shut down;
    /// all of it until `deadline`. Returns the number of calls that are still under way then; their
    /// instances end with them.
    pub async fn retire(&self, deadline: Instant) -> u32 {
        let inner = &self.inner;
        let all = inner.permits.clone().acquire_many_owned(inner.config.instances_max);
        let permits = tokio::time::timeout_at(deadline, all).await;
        inner.permits.close();
        let left = match &permits {
            Ok(_) => 0,
            Err(_) => self.status().busy,
        };
        let idle = std::mem::take(&mut *inner.idle());
        let shutdown = idle.into_iter().map(|idle| inner.shutdown(idle.worker, deadline, None));
        shutdown.collect::<FuturesUnordered<_>>().collect::<()>().await;
        left
    }

    /// Retires what has been idle for too long, or is too old. A registry does this for its plugins.
    pub fn sweep(&self, now: Instant) {
        self.inner.sweep(now);
    }

    /// How busy it is.
    pub fn status(&self) -> PoolStatus {
        self.inner.status()
    }
}

impl<T: StoreData> Inner<T> {
    fn status(&self) -> PoolStatus {
        let free = self.permits.available_permits() as u32;
        PoolStatus {
            busy: self.config.instances_max.saturating_sub(free),
            idle: self.idle().len() as u32,
            waiting: self.waiting.load(Ordering::Relaxed) as u32,
            started: self.started.load(Ordering::Relaxed),
            retired: self.retired.load(Ordering::Relaxed),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle<T>>> {
        // Nothing panics while it holds the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Retires what has been idle for too long, or is too old. Those that must stay warm stay.
    fn sweep(self: &Arc<Self>, now: Instant) {
        let config = &self.config;
        if config.keeps_state {
            return;
        }
        loop {
            // The permit first: an instance on its way out counts until it is gone.
            let Ok(permit) = self.permits.clone().try_acquire_owned() else { return };
            let worker = {
                let mut idle = self.idle();
                let spare = idle.len() > config.warm_min as usize;
                let past = |idle: &Idle<T>| {
                    idle.worker.retire_at <= now
                        || (spare && later(idle.since, config.idle_max) <= now)
                };
                // The first has been idle for longest.
                let Some(at) = idle.iter().position(past) else { return };
                idle.remove(at).worker
            };
            self.goodbye(worker, permit);
        }
    }

    /// Since when the instance that was idle for longest has been, of those that may go.
    fn idle_since(&self) -> Option<Instant> {
        if self.config.keeps_state {
            return None;
        }
        self.idle().first().map(|idle| idle.since)
    }

    /// Drops that instance, at once and without its leave. Returns whether there was one.
    fn drop_oldest(&self) -> bool {
        let oldest = {
            let mut idle = self.idle();
            (!idle.is_empty() && !self.config.keeps_state).then(|| idle.remove(0))
        };
        let there_was = oldest.is_some();
        self.retired.fetch_add(u64::from(there_was), Ordering::Relaxed);
        there_was
    }

    /// Takes an instance back after a call that was over at `now`.
    fn take_back(
        self: &Arc<Self>,
        mut worker: Worker<T>,
        permit: OwnedSemaphorePermit,
        now: Instant,
    ) {
        worker.calls_left = worker.calls_left.saturating_sub(1);
        let keeps_state = self.config.keeps_state;
        let is_worn = worker.calls_left == 0 || worker.retire_at <= now;
        if worker.instance.is_spent() {
            if keeps_state && worker.instance.has_state() {
                let (plugin, version) = (self.prepared.plugin(), self.prepared.version());
                tracing::warn!(%plugin, %version, "a plugin has lost its state: its instance broke, or its call was cancelled");
            }
            self.bury(worker, permit);
        } else if self.config.isolation == Isolation::PerCall {
            // In this order: the permit comes free after the instance.
            drop(worker);
            drop(permit);
            self.retired.fetch_add(1, Ordering::Relaxed);
        } else if (is_worn && !keeps_state) || self.permits.is_closed() {
            self.goodbye(worker, permit);
        } else {
            self.idle().push(Idle { worker, since: now });
        }
    }

    /// Retires an instance in good order, in the background.
    fn goodbye(self: &Arc<Self>, worker: Worker<T>, permit: OwnedSemaphorePermit) {
        let Ok(handle) = Handle::try_current() else { return self.bury(worker, permit) };
        let inner = self.clone();
        handle.spawn(async move {
            let deadline = Instant::now() + SHUTDOWN_MAX;
            inner.shutdown(worker, deadline, Some(permit)).await;
        });
    }

    async fn shutdown(
        &self,
        mut worker: Worker<T>,
        deadline: Instant,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let budget = CallBudget::new(SHUTDOWN_MAX, SHUTDOWN_MAX).until(deadline);
        if let Err(error) = worker.instance.shutdown(&budget).await {
            let plugin = self.prepared.plugin();
            tracing::warn!(%plugin, code = error.code(), "an instance did not shut down well");
        }
        self.retired.fetch_add(1, Ordering::Relaxed);
        self.prepared.reaper().bury((worker, permit));
    }

    /// Drops an instance where it holds up nobody; its permit comes free after it.
    fn bury(&self, worker: Worker<T>, permit: OwnedSemaphorePermit) {
        self.retired.fetch_add(1, Ordering::Relaxed);
        self.prepared.reaper().bury((worker, permit));
    }
}

/// An instance, for as long as one call needs it. Goes back to its pool when dropped, unless spent.
pub struct Lease<T: StoreData> {
    worker: Option<Worker<T>>,
    permit: Option<OwnedSemaphorePermit>,
    pool: Pool<T>,
    waited: bool,
}

impl<T: StoreData> Lease<T> {
    /// Whether it took time to get: others were busy, or the instance is new.
    pub(crate) fn has_waited(&self) -> bool {
        self.waited
    }

    /// Gives the instance back. `now` is when its call was over.
    pub fn release(mut self, now: Instant) {
        self.give_back(now);
    }

    fn give_back(&mut self, now: Instant) {
        if let (Some(worker), Some(permit)) = (self.worker.take(), self.permit.take()) {
            self.pool.inner.take_back(worker, permit, now);
        }
    }
}

impl<T: StoreData> Deref for Lease<T> {
    type Target = Instance<T>;
    fn deref(&self) -> &Instance<T> {
        &self.worker.as_ref().expect("taken only when given back").instance
    }
}

impl<T: StoreData> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut Instance<T> {
        &mut self.worker.as_mut().expect("taken only when given back").instance
    }
}

impl<T: StoreData> Drop for Lease<T> {
    fn drop(&mut self) {
        if self.worker.is_some() {
            self.give_back(Instant::now());
        }
    }
}
