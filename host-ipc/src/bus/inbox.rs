//! One subscriber: what waits for it, and what became of what it was given.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plugin_contract::PluginId;

use super::{
    BusSettings, Retry, Settled, Subscriber, SubscriberCounts, Undelivered,
    budget::Room,
    codes,
    lanes::{Ended, LaneLimits, Lanes, Turn, Verdict},
    letters::shown,
    published::Ticket,
};
use crate::Event;

/// An event in queues, and its part of the budget: once, however many queues it is in.
pub(super) struct Queued {
    pub(super) event: Arc<Event>,
    _room: Room,
}

impl Queued {
    pub(super) fn new(event: Arc<Event>, room: Room) -> Arc<Self> {
        Arc::new(Self { event, _room: room })
    }
}

/// One place in one queue.
pub(super) struct Entry {
    pub(super) queued: Arc<Queued>,
    pub(super) ticket: Ticket,
    /// What the place takes by itself.
    pub(super) room: Room,
}

/// An entry that is out of the queue, and what became of it.
pub(super) struct Ending {
    pub(super) event: Arc<Event>,
    pub(super) settled: Settled,
    pub(super) ticket: Ticket,
    /// Comes free last, after all is recorded: whoever waits for an empty budget finds nothing undone.
    pub(super) room: Option<(Arc<Queued>, Room)>,
}

/// A delivery to make.
pub(super) struct Delivery {
    pub(super) turn: Turn,
    pub(super) event: Arc<Event>,
    pub(super) subscriber: Arc<dyn Subscriber>,
}

/// What is to be done after a delivery.
pub(super) enum Next {
    /// Record it.
    Record(Ending),
    /// Wake the lane after a while that grows with each time that it was in vain.
    Rest { looks: u32 },
    /// The event was taken out of the queue meanwhile.
    Nothing,
}

/// Stays for as long as the name is remembered, whether or not there is a subscriber under it.
pub(super) struct Inbox {
    name: PluginId,
    state: Mutex<State>,
}

struct State {
    lanes: Lanes<Entry>,
    subscriber: Option<Arc<dyn Subscriber>>,
    delivered: u64,
    retried: u64,
    dead: u64,
}

impl Inbox {
    pub(super) fn new(name: PluginId, settings: &BusSettings) -> Self {
        let lanes = Lanes::new(LaneLimits {
            sources_at_once: settings.sources_at_once,
            attempts_max: settings.attempts_max,
            away_max: settings.away_max,
            events_max: settings.queue_events_max,
            bytes_max: settings.queue_bytes_max,
        });
        let state = State { lanes, subscriber: None, delivered: 0, retried: 0, dead: 0 };
        Self { name, state: Mutex::new(state) }
    }

    pub(super) fn name(&self) -> &PluginId {
        &self.name
    }

    /// Delivers to `subscriber` from now on. Returns the one before, for the caller to drop: what it does
    /// then is not known, and no lock may be held.
    pub(super) fn open(&self, subscriber: Arc<dyn Subscriber>) -> Option<Arc<dyn Subscriber>> {
        self.state().subscriber.replace(subscriber)
    }

    /// Delivers to nobody from now on. What is being delivered goes on.
    pub(super) fn leave(&self) -> (Option<Arc<dyn Subscriber>>, Vec<Ending>) {
        let mut state = self.state();
        (state.subscriber.take(), state.bury_idle())
    }

    /// The same, and gives up what is being delivered.
    pub(super) fn close(&self) -> (Option<Arc<dyn Subscriber>>, Vec<Ending>) {
        let mut state = self.state();
        let drained = state.lanes.drain_all();
        let text = "the host shut down before the event was handled";
        (state.subscriber.take(), state.bury(drained, codes::CLOSED, text))
    }

    /// Queues an event.
    ///
    /// # Errors
    /// Gives the entry back if there is no room, or no subscriber.
    pub(super) fn push(&self, entry: Entry) -> Result<(), Entry> {
        let mut state = self.state();
        if state.subscriber.is_none() {
            return Err(entry);
        }
        let (source, bytes) = (entry.queued.event.source.clone(), entry.queued.event.size());
        state.lanes.push(&source, entry, bytes)
    }

    /// Counts an event that did not get into the queue.
    pub(super) fn refuse(&self) {
        self.state().dead += 1;
    }

    /// A delivery to make now, if there is one and a turn for it.
    pub(super) fn next(&self) -> Option<Delivery> {
        let mut state = self.state();
        let subscriber = state.subscriber.clone()?;
        let (turn, entry) = state.lanes.next()?;
        Some(Delivery { turn, event: entry.queued.event.clone(), subscriber })
    }

    /// Says how the delivery on `turn` went.
    pub(super) fn settle(&self, turn: &Turn, result: Result<(), Undelivered>) -> Next {
        let mut state = self.state();
        let is_subscribed = state.subscriber.is_some();
        let ended = match &result {
            Ok(()) => Ended::Handled,
            Err(failure) if is_subscribed => match failure.retry {
                Retry::Never => Ended::Failed,
                Retry::Later => Ended::FailedForNow,
                Retry::WhenBack => Ended::Away,
            },
            Err(_) => Ended::Failed,
        };
        let (entry, attempts) = match state.lanes.settle(turn, ended) {
            Verdict::Over { item, attempts } => (item, attempts),
            Verdict::Rest { looks } => {
                state.retried += u64::from(ended == Ended::FailedForNow);
                return Next::Rest { looks };
            }
            Verdict::Stale => return Next::Nothing,
        };
        let settled = match result {
            Ok(()) => {
                state.delivered += 1;
                Settled::Handled { attempts }
            }
            Err(failure) => {
                state.dead += 1;
                // It would have been tried again, had the subscriber not left.
                let left = failure.retry != Retry::Never && !is_subscribed;
                let code = if left { codes::UNSUBSCRIBED } else { failure.code };
                let untried = left && failure.retry == Retry::WhenBack;
                let attempts = attempts.saturating_sub(u32::from(untried));
                Settled::Dead { code, message: shown(&failure.message), attempts }
            }
        };
        Next::Record(entry.end(settled))
    }

    /// Lets the lane of `turn` wait for a turn again. If there is nobody left to wait for, its event is
    /// given up.
    pub(super) fn wake(&self, turn: &Turn) -> Vec<Ending> {
        let mut state = self.state();
        state.lanes.wake(turn);
        if state.subscriber.is_some() { Vec::new() } else { state.bury_idle() }
    }

    /// Whether it can be forgotten: there is no subscriber, and nothing is under way to one.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.subscriber.is_none() && state.lanes.in_flight() == 0
    }

    pub(super) fn counts(&self) -> SubscriberCounts {
        let state = self.state();
        SubscriberCounts {
            name: self.name.clone(),
            subscribed: state.subscriber.is_some(),
            queued: state.lanes.len() as u64,
            delivered: state.delivered,
            retried: state.retried,
            dead: state.dead,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bury_idle(&mut self) -> Vec<Ending> {
        let drained = self.lanes.drain_idle();
        self.bury(drained, codes::UNSUBSCRIBED, "the subscriber left while the event waited for it")
    }

    fn bury(&mut self, drained: Vec<(Entry, u32)>, code: &'static str, text: &str) -> Vec<Ending> {
        self.dead += drained.len() as u64;
        let dead = |attempts| Settled::Dead { code, message: text.to_owned(), attempts };
        drained.into_iter().map(|(entry, attempts)| entry.end(dead(attempts))).collect()
    }
}

impl Entry {
    pub(super) fn end(self, settled: Settled) -> Ending {
        let Self { queued, ticket, room } = self;
        Ending { event: queued.event.clone(), settled, ticket, room: Some((queued, room)) }
    }
}

impl Ending {
    /// Of an event that was never queued.
    pub(super) fn new(event: Arc<Event>, settled: Settled, ticket: Ticket) -> Self {
        Self { event, settled, ticket, room: None }
    }
}
