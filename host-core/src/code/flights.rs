//! One piece of work for all who ask for the same at one time.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

/// Work under way. It goes on for as long as anyone waits for it: the last one to leave drops it.
pub(super) type Flight<V> = Shared<BoxFuture<'static, V>>;

pub(super) struct Flights<K, V> {
    open: Arc<Mutex<Open<K, V>>>,
}

struct Open<K, V> {
    flights: HashMap<K, (u64, WeakShared<BoxFuture<'static, V>>)>,
    /// Tells a flight from the one before it under the same key.
    next: u64,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { open: Arc::new(Mutex::new(Open { flights: HashMap::new(), next: 0 })) }
    }
}

impl<K, V> Flights<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The flight for `key`, and whether it was under way. If it was not, it is what `start` makes.
    pub(super) fn join(
        &self,
        key: K,
        start: impl FnOnce() -> BoxFuture<'static, V>,
    ) -> (Flight<V>, bool) {
        let mut open = lock(&self.open);
        if let Some(flight) = open.flights.get(&key).and_then(|(_, flight)| flight.upgrade()) {
            return (flight, true);
        }
        let number = open.next;
        open.next += 1;
        // Moved into the work, so that it goes with it also if nobody ever polls that.
        let entry = Entry { open: self.open.clone(), key, number };
        let work = start();
        let flight = async move {
            let _entry = entry;
            work.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            open.flights.insert(key, (number, weak));
        }
        (flight, false)
    }
}

fn lock<K, V>(open: &Mutex<Open<K, V>>) -> MutexGuard<'_, Open<K, V>> {
    // Nothing panics while it holds the lock.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a flight off the list when it is over, or dropped.
struct Entry<K: Eq + Hash, V> {
    open: Arc<Mutex<Open<K, V>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V> Drop for Entry<K, V> {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if open.flights.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            open.flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::{FutureExt, future::BoxFuture};
    use tokio::sync::oneshot;

    use super::Flights;

    type Work = (oneshot::Sender<u32>, BoxFuture<'static, u32>);

    /// Work that ends when told, and counts how often it was dropped before that.
    fn work(dropped: &Arc<AtomicUsize>) -> Work {
        struct Dropped(Arc<AtomicUsize>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let guard = Dropped(dropped.clone());
        let (end, ended) = oneshot::channel();
        let work = async move {
            let answer = ended.await.unwrap();
            std::mem::forget(guard);
            answer
        };
        (end, work.boxed())
    }

    #[tokio::test]
    async fn who_leaves_cancels_nobody_else() {
        let (flights, dropped) = (Flights::default(), Arc::default());
        let (end, work) = work(&dropped);
        let (first, joined) = flights.join("key", || work);
        assert!(!joined);
        let (second, joined) = flights.join("key", || panic!("started twice"));
        assert!(joined);
        assert!(first.clone().now_or_never().is_none());
        drop(first);
        end.send(7).unwrap();
        assert_eq!(second.await, 7);
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        assert!(flights.open.lock().unwrap().flights.is_empty());
    }

    #[tokio::test]
    async fn the_last_to_leave_ends_the_work_and_the_next_starts_it_anew() {
        let (flights, dropped) = (Flights::default(), Arc::default());
        for polled in [false, true] {
            let (_end, work) = work(&dropped);
            let (first, _) = flights.join("key", || work);
            let (second, _) = flights.join("key", || panic!("started twice"));
            if polled {
                assert!(first.clone().now_or_never().is_none());
            }
            drop(first);
            drop(second);
            assert_eq!(dropped.swap(0, Ordering::Relaxed), 1);
            assert!(flights.open.lock().unwrap().flights.is_empty());
        }
        let (flight, joined) = flights.join("key", || async { 8 }.boxed());
        assert!(!joined);
        assert_eq!(flight.await, 8);
    }
}
