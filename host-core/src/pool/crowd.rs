//! All pools of a runtime, which share the slots of its engines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::Inner;
use crate::StoreData;

/// Knows all pools, and keeps none alive.
pub(crate) struct Crowd<T: 'static> {
    pools: Mutex<Vec<Weak<Inner<T>>>>,
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        Self { pools: Mutex::default() }
    }
}

impl<T: StoreData> Crowd<T> {
    pub(super) fn join(&self, pool: &Arc<Inner<T>>) {
        let mut pools = self.pools();
        if pools.len() == pools.capacity() {
            pools.retain(|pool| pool.strong_count() > 0);
        }
        pools.push(Arc::downgrade(pool));
    }

    /// Retires, in each pool, what has been idle for too long or is too old.
    pub(crate) fn sweep(&self, now: Instant) {
        self.each(|pool| pool.sweep(now));
    }

    /// Drops idle instances of all pools, half of each. Returns how many.
    pub(super) fn make_room(&self) -> usize {
        let mut count = 0;
        self.each(|pool| count += pool.make_room());
        count
    }

    fn each(&self, mut act: impl FnMut(&Arc<Inner<T>>)) {
        let pools: Vec<_> = self.pools().iter().filter_map(Weak::upgrade).collect();
        pools.iter().for_each(&mut act);
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Inner<T>>>> {
        // Nothing panics while it holds the lock.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
