//! Refuses calls to a revision that fails again and again, and tries it anew after a while.
//!
//! Closed, the breaker is two words that every core reads and, as long as calls succeed, none writes.
//! All else is behind a lock that is taken only while calls are refused.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

#[cfg(test)]
mod tests;

/// When calls to a failing revision are refused, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerConfig {
    /// How many of the latest calls are looked at, 1 to 64. Default 32.
    pub window: u32,
    /// How many of them must have failed for calls to be refused. More than `window`: never. Default 20.
    pub failures: u32,
    /// How long calls are refused, at the least; more than a day is a day. Default 1 s.
    pub open_min: Duration,
    /// How long calls are refused, at the most, however often the revision failed. Default 60 s.
    pub open_max: Duration,
    /// Calls that must succeed, one after the other, for all to be let through again. Default 3.
    pub probes: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: 32,
            failures: 20,
            open_min: Duration::from_secs(1),
            open_max: Duration::from_secs(60),
            probes: 3,
        }
    }
}

impl BreakerConfig {
    /// A breaker that never refuses a call.
    pub fn off() -> Self {
        Self { failures: u32::MAX, ..Self::default() }
    }
}

/// Longest time for which calls are refused at a stretch.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a caller is told to wait, at the least.
const MOMENT: Duration = Duration::from_millis(1);

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open {
        /// The first call from then on is let through, as a probe. May be in the past.
        until: Instant,
    },
    /// One call at a time is let through, to see how it ends. The others are refused.
    HalfOpen,
}

/// How a call that was let through ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The plugin answered; a refusal is an answer.
    Success,
    /// The plugin broke: a trap, a deadline, a limit.
    Failure,
}

/// The call was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CircuitOpen {
    /// When it is worth asking again. More than zero.
    pub(crate) retry_after: Duration,
}

/// The breaker of one revision.
pub(crate) struct Breaker {
    config: BreakerConfig,
    /// Even while closed. Goes up by one when the breaker opens, and again when it closes.
    turn: AtomicU64,
    /// The latest calls of this turn, one bit each, a failure set, the last call lowest.
    history: AtomicU64,
    trip: Mutex<Trip>,
}

/// What there is to know while calls are refused.
struct Trip {
    state: BreakerState,
    /// Whether a call is out to see how the plugin does.
    probing: bool,
    /// How many of these have succeeded since it was half open.
    successes: u32,
    /// How often it has opened since it was last closed.
    openings: u32,
}

impl Breaker {
    /// A closed breaker.
    pub(crate) fn new(config: BreakerConfig) -> Self {
        let open_min = config.open_min.min(DAY);
        let config = BreakerConfig {
            window: config.window.clamp(1, u64::BITS),
            // No failures at all are no reason to open.
            failures: config.failures.max(1),
            open_min,
            open_max: config.open_max.clamp(open_min, DAY),
            probes: config.probes.max(1),
        };
        let trip = Trip { state: BreakerState::Closed, probing: false, successes: 0, openings: 0 };
        Self { config, turn: AtomicU64::new(0), history: AtomicU64::new(0), trip: Mutex::new(trip) }
    }

    /// Asks whether a call may go through now.
    ///
    /// # Errors
    /// [`CircuitOpen`]: it may not. Nothing was changed.
    pub(crate) fn admit(&self, now: Instant) -> Result<Pass<'_>, CircuitOpen> {
        let turn = self.turn.load(Acquire);
        if turn.is_multiple_of(2) {
            return Ok(Pass { breaker: self, turn, probe: false });
        }
        let mut trip = self.trip();
        match trip.state {
            // It has closed since.
            BreakerState::Closed => {
                return Ok(Pass { breaker: self, turn: self.turn.load(Relaxed), probe: false });
            }
            BreakerState::Open { until } if now < until => {
                return Err(CircuitOpen { retry_after: until - now });
            }
            BreakerState::Open { .. } => {
                trip.state = BreakerState::HalfOpen;
                trip.successes = 0;
            }
            // How long the probe takes, nobody knows.
            BreakerState::HalfOpen if trip.probing => {
                return Err(CircuitOpen { retry_after: self.config.open_min.max(MOMENT) });
            }
            BreakerState::HalfOpen => {}
        }
        trip.probing = true;
        Ok(Pass { breaker: self, turn, probe: true })
    }

    /// Where it stands, for reports.
    pub(crate) fn state(&self) -> BreakerState {
        if self.turn.load(Acquire).is_multiple_of(2) {
            return BreakerState::Closed;
        }
        self.trip().state
    }

    /// How often it has opened since it was last closed.
    pub(crate) fn openings(&self) -> u32 {
        self.trip().openings
    }

    /// Lets all calls through again, as if nothing had been: the revision was started anew.
    pub(crate) fn close(&self) {
        let mut trip = self.trip();
        if trip.state != BreakerState::Closed {
            self.reset(&mut trip);
        }
    }

    /// A call that went through in `turn` while closed has ended.
    fn record(&self, turn: u64, outcome: Outcome, now: Instant) {
        let past = self.history.load(Relaxed);
        if outcome == Outcome::Success && past == 0 {
            return;
        }
        // Calls that were under way when the breaker opened say nothing new.
        if self.turn.load(Relaxed) != turn {
            return;
        }
        let window = u64::MAX >> (u64::BITS - self.config.window);
        let next = |past: u64| (past << 1 | u64::from(outcome == Outcome::Failure)) & window;
        let past = self.history.fetch_update(Relaxed, Relaxed, |past| Some(next(past)));
        // The closure never declines.
        let (Ok(past) | Err(past)) = past;
        if outcome == Outcome::Failure && next(past).count_ones() >= self.config.failures {
            let mut trip = self.trip();
            // Of several calls that fail together, one opens it.
            if self.turn.load(Relaxed) == turn {
                self.open(&mut trip, now);
                self.turn.store(turn + 1, Release);
            }
        }
    }

    /// A probe of `turn` has ended, or was given up.
    fn record_probe(&self, turn: u64, outcome: Option<(Outcome, Instant)>) {
        let mut trip = self.trip();
        // It was closed meanwhile: if a probe is out, it is another.
        if self.turn.load(Relaxed) != turn {
            return;
        }
        trip.probing = false;
        match outcome {
            None => {}
            Some((Outcome::Failure, now)) => self.open(&mut trip, now),
            Some((Outcome::Success, _)) => {
                trip.successes += 1;
                if trip.successes >= self.config.probes {
                    self.reset(&mut trip);
                }
            }
        }
    }

    /// Closes it, whatever was before.
    fn reset(&self, trip: &mut Trip) {
        trip.state = BreakerState::Closed;
        trip.openings = 0;
        self.history.store(0, Relaxed);
        self.turn.fetch_add(1, Release);
    }

    /// For twice as long as the time before, and a random part of as much again: revisions that failed
    /// together, or hosts that share what they failed on, are not to come back together.
    fn open(&self, trip: &mut Trip, now: Instant) {
        let BreakerConfig { open_min, open_max, .. } = self.config;
        // After 31 doublings the longest time is reached, or the shortest was none.
        let doubled = 1_u32 << trip.openings.saturating_add(1).min(31);
        let top = open_min.saturating_mul(doubled).min(open_max);
        let bottom = open_min.max(top / 2);
        let wait = bottom + (top - bottom).mul_f64(fastrand::f64());
        trip.openings = trip.openings.saturating_add(1);
        trip.state = BreakerState::Open { until: now + wait };
    }

    fn trip(&self) -> MutexGuard<'_, Trip> {
        // Nothing panics while it holds the lock.
        self.trip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one call. Dropped without an outcome, it says nothing of the plugin (the caller went away,
/// or the call never came to it), and the next call may be the probe.
#[must_use = "a call that is let through reports how it ended"]
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    turn: u64,
    probe: bool,
}

impl Pass<'_> {
    /// The call has ended.
    pub(crate) fn record(mut self, outcome: Outcome, now: Instant) {
        if std::mem::take(&mut self.probe) {
            self.breaker.record_probe(self.turn, Some((outcome, now)));
        } else {
            self.breaker.record(self.turn, outcome, now);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.record_probe(self.turn, None);
        }
    }
}
