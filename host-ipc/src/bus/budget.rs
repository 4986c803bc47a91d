//! The memory that waiting events may take, over all subscribers.

use std::sync::{
    Arc,
    atomic::{
        AtomicUsize,
        Ordering::{AcqRel, Acquire},
    },
};

use tokio::sync::Notify;

/// Bytes to give out, and to get back.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: usize,
    taken: AtomicUsize,
    /// Told each time that all is back.
    empty: Notify,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, taken: AtomicUsize::new(0), empty: Notify::new() })
    }

    /// Room for `bytes`, if there is that much.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.taken.fetch_update(AcqRel, Acquire, more).ok()?;
        Some(Room { budget: self.clone(), bytes })
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Acquire)
    }

    /// Returns once nothing waits, at once if nothing does.
    pub(super) async fn emptied(&self) {
        loop {
            // Made before the look at the count: no notice is missed from then on.
            let told = self.empty.notified();
            if self.taken() == 0 {
                return;
            }
            told.await;
        }
    }
}

/// A part of the budget. Goes back to it when dropped.
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Room {
    /// Takes `bytes` of it out, at most all.
    pub(super) fn split(&mut self, bytes: usize) -> Room {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Room { budget: self.budget.clone(), bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let before = self.budget.taken.fetch_sub(self.bytes, AcqRel);
        if self.bytes > 0 && before == self.bytes {
            self.budget.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn what_was_given_out_comes_back_once() {
        let budget = Budget::new(100);
        let mut room = budget.reserve(100).unwrap();
        assert!(budget.reserve(1).is_none());
        let part = room.split(40);
        drop(room);
        assert_eq!(budget.taken(), 40);
        assert!(budget.reserve(61).is_none());
        assert!(budget.reserve(usize::MAX).is_none());
        let rest = budget.reserve(60).unwrap();
        drop((part, rest));
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn no_more_is_split_off_than_there_is() {
        let budget = Budget::new(100);
        let mut room = budget.reserve(10).unwrap();
        let part = room.split(20);
        drop((room, part));
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn waiting_for_an_empty_budget_ends_with_the_last_byte() {
        let budget = Budget::new(100);
        budget.emptied().await;
        let room = budget.reserve(1).unwrap();
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(room);
        waiting.await.unwrap();
    }
}
