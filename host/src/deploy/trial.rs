//! A rollout that is told of calls while they arrive.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use host_deploy::{
    Decision, Rollout,
    verdict::{Arm, Outcome},
};

use super::lock;

/// Longest time that counts between two looks. A machine that was asleep has served nobody.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// A rollout under way. Locked for the time of adding one number to another.
pub(crate) struct Trial {
    rollout: Mutex<Rollout>,
    looked_at: Mutex<Instant>,
    /// Told of something that is not stored yet.
    is_news: AtomicBool,
}

impl Trial {
    pub(crate) fn new(rollout: Rollout) -> Self {
        let looked_at = Mutex::new(Instant::now());
        Self { rollout: Mutex::new(rollout), looked_at, is_news: AtomicBool::new(false) }
    }

    /// A call ended.
    pub(crate) fn observe(&self, arm: Arm, outcome: Outcome) {
        lock(&self.rollout).observe(arm, outcome);
        self.is_news.store(true, Ordering::Relaxed);
    }

    /// Time has passed, in which the canary `served` or did not.
    pub(crate) fn look(&self, served: bool) -> Decision {
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut *lock(&self.looked_at), now);
        let mut rollout = lock(&self.rollout);
        if served {
            rollout.pass(passed.min(LOOK_MAX));
        }
        rollout.decide()
    }

    /// How far it has come.
    pub(crate) fn rollout(&self) -> Rollout {
        lock(&self.rollout).clone()
    }

    /// The same, if something is to be stored.
    pub(crate) fn news(&self) -> Option<Rollout> {
        self.is_news.swap(false, Ordering::Relaxed).then(|| self.rollout())
    }

    /// Another step, or on hold: goes on with `rollout`. What was told meanwhile is of the step before.
    pub(crate) fn set(&self, rollout: Rollout) {
        *lock(&self.rollout) = rollout;
    }
}
