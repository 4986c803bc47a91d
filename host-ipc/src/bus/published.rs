//! Learning what became of an event.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use plugin_contract::PluginId;
use tokio::sync::watch;

use super::codes;

/// What became of an event, for one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The subscriber handled it.
    Handled {
        /// Deliveries that it took.
        attempts: u32,
    },
    /// It became a dead letter.
    Dead {
        /// Why, as in [`DeadLetter::code`](crate::DeadLetter::code).
        code: &'static str,
        /// The same for people.
        message: String,
        /// Deliveries that were tried.
        attempts: u32,
    },
}

/// An event that was handed out. Dropping it changes nothing about its delivery.
pub struct Published(Arc<Tally>);

impl Published {
    /// Those whose patterns cover the event, by name.
    pub fn subscribers(&self) -> &[PluginId] {
        &self.0.subscribers
    }

    /// Waits until all of them are done with it, and says how each was, by name.
    ///
    /// Dropping the future loses nothing: the next one says the same.
    pub async fn settled(&self) -> Vec<(PluginId, Settled)> {
        self.wait().await;
        self.so_far().into_iter().filter_map(|(name, settled)| Some((name, settled?))).collect()
    }

    /// Waits for that no longer than `limit`. Those that are not done by then have no answer.
    pub async fn settled_within(&self, limit: Duration) -> Vec<(PluginId, Option<Settled>)> {
        _ = tokio::time::timeout(limit, self.wait()).await;
        self.so_far()
    }

    /// What is known by now. Does not wait.
    pub fn so_far(&self) -> Vec<(PluginId, Option<Settled>)> {
        let answers = self.0.answers().clone();
        self.0.subscribers.iter().cloned().zip(answers).collect()
    }

    async fn wait(&self) {
        // It fails only without a sender, and `self` holds one.
        _ = self.0.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.so_far()).finish()
    }
}

/// The answers to one publication. Queues hold it weakly: nobody waits, nothing is kept.
pub(super) struct Tally {
    subscribers: Vec<PluginId>,
    answers: Mutex<Vec<Option<Settled>>>,
    pending: watch::Sender<usize>,
}

impl Tally {
    pub(super) fn new(subscribers: Vec<PluginId>) -> Arc<Self> {
        let count = subscribers.len();
        Arc::new(Self {
            subscribers,
            answers: Mutex::new(vec![None; count]),
            pending: watch::Sender::new(count),
        })
    }

    /// The duty to answer for the subscriber at `place`.
    pub(super) fn ticket(self: &Arc<Self>, place: usize) -> Ticket {
        Ticket { tally: Arc::downgrade(self), place }
    }

    pub(super) fn published(self: Arc<Self>) -> Published {
        Published(self)
    }

    fn answer(&self, place: usize, settled: Settled) {
        if let Some(answer @ None) = self.answers().get_mut(place) {
            *answer = Some(settled);
        } else {
            return;
        }
        // After the answer is there to be read.
        self.pending.send_modify(|pending| *pending = pending.saturating_sub(1));
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Option<Settled>>> {
        // Nothing panics while it holds the lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to say what became of an event for one subscriber, if anyone waits for it.
pub(super) struct Ticket {
    tally: Weak<Tally>,
    place: usize,
}

impl Ticket {
    /// Nobody will wait.
    pub(super) fn blank() -> Self {
        Self { tally: Weak::new(), place: 0 }
    }

    pub(super) fn answer(self, settled: Settled) {
        if let Some(tally) = self.tally.upgrade() {
            tally.answer(self.place, settled);
        }
    }
}

/// Whoever waits gets an answer in any case, even if the queue went away without one.
impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(tally) = self.tally.upgrade() {
            let message = "the event bus is gone".to_owned();
            tally.answer(self.place, Settled::Dead { code: codes::CLOSED, message, attempts: 0 });
        }
    }
}
