//! What a subscriber is given next: the order of its events.
//!
//! Each source has a lane. Out of one lane, events go one after the other; lanes take turns, and so many
//! of them are under way at once. A lane whose event has failed for now rests, and takes up no turn.
//! Values in, decisions out: no clock, no tasks, no locks, so a test can play any course of things.
//! Not here: who is called (`inbox`), and for how long a lane rests (`deliver`).

use std::collections::{HashMap, VecDeque};

use crate::Origin;

/// The part of the settings that is about one subscriber.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneLimits {
    pub(super) sources_at_once: usize,
    pub(super) attempts_max: u32,
    pub(super) away_max: u32,
    pub(super) events_max: usize,
    pub(super) bytes_max: usize,
}

/// The leave to deliver the first event of a lane, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) source: Origin,
    /// No two turns of one subscriber have the same.
    pub(super) number: u64,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Handled,
    /// It would fail again.
    Failed,
    /// It may go better another time.
    FailedForNow,
    /// Nobody was there to try.
    Away,
}

/// What comes of that.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<T> {
    /// The item is out of the queue: handled, or to be a dead letter.
    Over { item: T, attempts: u32 },
    /// The lane rests until it is woken with the same turn. `looks` counts how often it was in vain.
    Rest { looks: u32 },
    /// The item was taken out of the queue meanwhile. Nothing to do.
    Stale,
}

/// The queue of one subscriber.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    limits: LaneLimits,
    lanes: HashMap<Origin, Lane<T>>,
    /// The lanes that wait for a turn, each once, in the order that they get one.
    waiting: VecDeque<Origin>,
    in_flight: usize,
    events: usize,
    bytes: usize,
    turns: u64,
    arrivals: u64,
}

#[derive(Debug)]
struct Lane<T> {
    /// Never empty.
    items: VecDeque<Item<T>>,
    /// How often the first one has failed.
    attempts: u32,
    /// How often nobody was there to try it, or those before it.
    away: u32,
    state: State,
}

#[derive(Debug)]
struct Item<T> {
    item: T,
    bytes: usize,
    arrival: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For a turn.
    Waiting,
    /// The first item is being delivered, on the turn of this number.
    InFlight(u64),
    /// The first item has failed on the turn of this number.
    Resting(u64),
}

impl<T> Lanes<T> {
    pub(super) fn new(limits: LaneLimits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            events: 0,
            bytes: 0,
            turns: 0,
            arrivals: 0,
        }
    }

    /// Items in the queue, those in flight included.
    pub(super) fn len(&self) -> usize {
        self.events
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Appends to the lane of `source`.
    ///
    /// # Errors
    /// Gives the item back if the queue has no room for it.
    pub(super) fn push(&mut self, source: &Origin, item: T, bytes: usize) -> Result<(), T> {
        let fits = self.bytes.checked_add(bytes).is_some_and(|sum| sum <= self.limits.bytes_max);
        if self.events >= self.limits.events_max || !fits {
            return Err(item);
        }
        self.events += 1;
        self.bytes += bytes;
        self.arrivals += 1;
        let lane = self.lanes.entry(source.clone()).or_insert_with(|| {
            self.waiting.push_back(source.clone());
            Lane { items: VecDeque::new(), attempts: 0, away: 0, state: State::Waiting }
        });
        lane.items.push_back(Item { item, bytes, arrival: self.arrivals });
        Ok(())
    }

    /// The next item to deliver now, if there is one and a turn for it.
    pub(super) fn next(&mut self) -> Option<(Turn, &T)> {
        if self.in_flight >= self.limits.sources_at_once.max(1) {
            return None;
        }
        let source = self.waiting.pop_front()?;
        let lane = self.lanes.get_mut(&source)?;
        self.turns += 1;
        self.in_flight += 1;
        lane.state = State::InFlight(self.turns);
        let first = lane.items.front()?;
        Some((Turn { source, number: self.turns }, &first.item))
    }

    /// Says how the delivery on `turn` ended.
    pub(super) fn settle(&mut self, turn: &Turn, ended: Ended) -> Verdict<T> {
        let Some(lane) = self.lanes.get_mut(&turn.source) else { return Verdict::Stale };
        if lane.state != State::InFlight(turn.number) {
            return Verdict::Stale;
        }
        self.in_flight -= 1;
        match ended {
            Ended::Away => lane.away = lane.away.saturating_add(1),
            _ => lane.attempts = lane.attempts.saturating_add(1),
        }
        let rests = match ended {
            Ended::Away => lane.away < self.limits.away_max,
            Ended::FailedForNow => lane.attempts < self.limits.attempts_max,
            Ended::Handled | Ended::Failed => false,
        };
        let (attempts, looks) = (lane.attempts, lane.attempts.saturating_add(lane.away));
        if rests {
            lane.state = State::Resting(turn.number);
            return Verdict::Rest { looks };
        }
        let Some(Item { item, bytes, .. }) = lane.items.pop_front() else { return Verdict::Stale };
        self.events -= 1;
        self.bytes -= bytes;
        if lane.items.is_empty() {
            self.lanes.remove(&turn.source);
        } else {
            // To the back: the other sources first. Who was waited for in vain is waited for no longer because
            // of what comes next.
            if ended != Ended::Away {
                lane.away = 0;
            }
            (lane.attempts, lane.state) = (0, State::Waiting);
            self.waiting.push_back(turn.source.clone());
        }
        Verdict::Over { item, attempts }
    }

    /// Lets the lane wait for a turn again: it has rested, or nobody will say how its delivery ended.
    pub(super) fn wake(&mut self, turn: &Turn) {
        let Some(lane) = self.lanes.get_mut(&turn.source) else { return };
        match lane.state {
            State::InFlight(number) if number == turn.number => self.in_flight -= 1,
            State::Resting(number) if number == turn.number => {}
            _ => return,
        }
        lane.state = State::Waiting;
        self.waiting.push_back(turn.source.clone());
    }

    /// Takes out all but what is in flight, in order of arrival, each item with its failed attempts.
    pub(super) fn drain_idle(&mut self) -> Vec<(T, u32)> {
        self.drain(false)
    }

    /// Takes out all, in order of arrival. What was in flight has had one attempt more.
    pub(super) fn drain_all(&mut self) -> Vec<(T, u32)> {
        self.drain(true)
    }

    fn drain(&mut self, in_flight_too: bool) -> Vec<(T, u32)> {
        let mut drained = Vec::new();
        self.waiting.clear();
        self.lanes.retain(|_, lane| {
            let in_flight = matches!(lane.state, State::InFlight(_));
            let kept = usize::from(in_flight && !in_flight_too);
            // Those behind the first have not been tried.
            let first = lane.attempts.saturating_add(u32::from(in_flight));
            let attempts = std::iter::once(first).chain(std::iter::repeat(0)).skip(kept);
            drained.extend(lane.items.drain(kept..).zip(attempts));
            kept > 0
        });
        if in_flight_too {
            self.in_flight = 0;
        }
        self.events -= drained.len();
        self.bytes -= drained.iter().map(|(item, _)| item.bytes).sum::<usize>();
        drained.sort_unstable_by_key(|(item, _)| item.arrival);
        drained.into_iter().map(|(item, attempts)| (item.item, attempts)).collect()
    }
}
