//! All pools of a runtime, which share the slots of its engines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::Inner;
use crate::StoreData;

/// Instances dropped at one time to make room for one: an instance may take several slots.
const ROOM: usize = 4;

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

    /// Drops the instances that have been idle for longest, of whatever pool: a few. Returns how many.
    pub(super) fn make_room(&self) -> usize {
        (0..ROOM).take_while(|_| self.drop_oldest()).count()
    }

    fn drop_oldest(&self) -> bool {
        let mut oldest: Option<(Instant, Arc<Inner<T>>)> = None;
        self.each(|pool| {
            if let Some(since) = pool.idle_since()
                && oldest.as_ref().is_none_or(|(first, _)| since < *first)
            {
                oldest = Some((since, pool.clone()));
            }
        });
        oldest.is_some_and(|(_, pool)| pool.drop_oldest())
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
