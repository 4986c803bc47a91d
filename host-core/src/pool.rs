//! Warm instances of one plugin, one call at a time each.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{CallBudget, CoreError, Instance, Prepared, StoreData};

/// How many instances a plugin may have, and how many calls may wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// Instances at one time, idle ones included.
    pub instances_max: u32,
    /// Calls that wait for an instance; one more is refused. Default 64.
    pub waiting_max: u32,
}

impl PoolConfig {
    /// A pool of at most `instances_max` instances.
    pub fn new(instances_max: u32) -> Self {
        Self { instances_max, waiting_max: 64 }
    }
}

/// How busy a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Instances that work on a call.
    pub busy: u32,
    /// Instances that wait for one.
    pub idle: u32,
    /// Calls that wait for an instance.
    pub waiting: u32,
}

/// The instances of one revision. Cheap to clone.
pub struct Pool<T: 'static> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<T: 'static> {
    prepared: Prepared<T>,
    data: Box<dyn Fn() -> T + Send + Sync>,
    config: PoolConfig,
    /// One permit for each instance that may exist.
    permits: Arc<Semaphore>,
    waiting: AtomicU32,
    /// The last one back is the first to go out: its memory is still in the caches.
    idle: Mutex<Vec<Instance<T>>>,
}

impl<T: StoreData> Pool<T> {
    /// An empty pool. `data` makes the data of a new store; instances are made when calls need them.
    pub fn new(
        prepared: Prepared<T>,
        config: PoolConfig,
        data: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(config.instances_max as usize));
        let inner = Inner {
            prepared,
            data: Box::new(data),
            config,
            permits,
            waiting: AtomicU32::new(0),
            idle: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The plugin whose instances these are.
    pub fn prepared(&self) -> &Prepared<T> {
        &self.inner.prepared
    }

    /// An instance for one call: a warm one, or a new one that has initialised. Waits its turn if
    /// all are busy, until the deadline of `budget`.
    ///
    /// # Errors
    /// `core/overloaded` if too many wait already, or none came free in time; those of
    /// [`Prepared::start`] if a new one could not be made.
    pub async fn lease(&self, budget: &CallBudget) -> Result<Lease<T>, CoreError> {
        let permit = self.permit(budget).await?;
        let warm = self.idle().pop();
        let instance = match warm {
            Some(instance) => instance,
            None => {
                let data = (self.inner.data)();
                let config = &self.inner.prepared.manifest().config;
                let config: Vec<_> = config.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                self.inner.prepared.start(data, &config, budget).await?
            }
        };
        Ok(Lease { instance: Some(instance), pool: self.clone(), _permit: permit })
    }

    async fn permit(&self, budget: &CallBudget) -> Result<OwnedSemaphorePermit, CoreError> {
        let overloaded = || CoreError::Overloaded {
            plugin: self.inner.prepared.plugin().clone(),
            instances: self.inner.config.instances_max,
        };
        let permits = &self.inner.permits;
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let Some(_place) = Waiting::join(&self.inner.waiting, self.inner.config.waiting_max) else {
            return Err(overloaded());
        };
        match tokio::time::timeout_at(budget.deadline(), permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed, so this is the deadline.
            _ => Err(overloaded()),
        }
    }

    /// Takes out all idle instances, so that the caller can shut them down.
    pub fn take_idle(&self) -> Vec<Instance<T>> {
        std::mem::take(&mut *self.idle())
    }

    /// How busy it is.
    pub fn status(&self) -> PoolStatus {
        let free = self.inner.permits.available_permits() as u32;
        PoolStatus {
            busy: self.inner.config.instances_max.saturating_sub(free),
            idle: self.idle().len() as u32,
            waiting: self.inner.waiting.load(Ordering::Relaxed),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance<T>>> {
        // Nothing panics while it holds the lock.
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait, given up when dropped.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn join(waiting: &'a AtomicU32, max: u32) -> Option<Self> {
        let joined = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < max).then_some(waiting + 1)
        });
        joined.ok().map(|_| Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An instance, for as long as one call needs it. Goes back to its pool when dropped, unless spent.
pub struct Lease<T: StoreData> {
    instance: Option<Instance<T>>,
    pool: Pool<T>,
    /// Given back after the instance, so that there are never more instances than permits.
    _permit: OwnedSemaphorePermit,
}

impl<T: StoreData> Deref for Lease<T> {
    type Target = Instance<T>;
    fn deref(&self) -> &Instance<T> {
        self.instance.as_ref().expect("taken only when dropped")
    }
}

impl<T: StoreData> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut Instance<T> {
        self.instance.as_mut().expect("taken only when dropped")
    }
}

impl<T: StoreData> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take().filter(|instance| !instance.is_spent()) {
            self.pool.idle().push(instance);
        }
    }
}
