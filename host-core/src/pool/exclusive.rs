//! The one instance of a pool that keeps state, taken out while its state is handed over.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::{Lease, Pool};
use crate::{CallBudget, CoreError, Instance, StoreData};

/// The place of that instance, and the instance if there is one. Calls wait in the pool's queue for as long
/// as this is there; dropped, it lets them go on with the instance.
pub(crate) struct Exclusive<T: StoreData> {
    lease: Lease<T>,
}

impl<T: StoreData> Pool<T> {
    /// Whether its one instance has a state that is worth keeping.
    pub(crate) fn keeps_state(&self) -> bool {
        self.inner.config.keeps_state
    }

    /// Whether another revision has its state now: whoever is told `core/retired` turns to that.
    pub(crate) fn was_handed_over(&self) -> bool {
        self.inner.handed_over.load(Ordering::Acquire)
    }

    /// Takes out the one instance, once the calls that came first are over. Waits beside the queue's bound:
    /// what a crowd of callers does not let happen would never happen.
    ///
    /// # Errors
    /// `core/state-busy` at `deadline`; `core/retired`.
    pub(crate) async fn seclude(&self, deadline: Instant) -> Result<Exclusive<T>, CoreError> {
        let plugin = || self.inner.prepared.plugin().clone();
        let permit = self.inner.permits.clone().acquire_owned();
        let permit = tokio::time::timeout_at(deadline, permit)
            .await
            .map_err(|_| CoreError::StateBusy { plugin: plugin() })?
            .map_err(|_closed| CoreError::Retired { plugin: plugin() })?;
        let worker = self.inner.idle().pop().map(|idle| idle.worker);
        let lease = Lease { worker, permit: Some(permit), pool: self.clone(), waited: true };
        Ok(Exclusive { lease })
    }
}

impl<T: StoreData> Exclusive<T> {
    /// The instance; `None` if the last one broke.
    pub(crate) fn instance(&mut self) -> Option<&mut Instance<T>> {
        Some(&mut self.lease.worker.as_mut()?.instance)
    }

    /// An instance that has done nothing yet: if this one has, another in its place.
    ///
    /// # Errors
    /// Those of starting it.
    pub(crate) async fn fresh(
        &mut self,
        budget: &CallBudget,
    ) -> Result<&mut Instance<T>, CoreError> {
        let pool = self.lease.pool.clone();
        let worker = match self.lease.worker.take() {
            Some(worker) if !worker.instance.has_state() => worker,
            old => {
                if old.is_some() {
                    // Here and now: its place is for the next one.
                    drop(old);
                    pool.inner.retired.fetch_add(1, Ordering::Relaxed);
                }
                pool.start(budget).await?
            }
        };
        Ok(&mut self.lease.worker.insert(worker).instance)
    }

    /// Lets the instance shut down, and the next call have a new one.
    pub(crate) fn discard(mut self) {
        if let (Some(worker), Some(permit)) = (self.lease.worker.take(), self.lease.permit.take()) {
            self.lease.pool.inner.goodbye(worker, permit);
        }
    }

    /// Another revision has the state: ends the instance, and the pool with it. Those who wait are told that
    /// it is retired.
    pub(crate) fn close(self) {
        let inner = &self.lease.pool.inner;
        // In this order: who is turned away finds out why.
        inner.handed_over.store(true, Ordering::Release);
        inner.permits.close();
    }
}
