//! A rollout that is told of calls while they arrive.

use std::{
    hash::{BuildHasher, RandomState},
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
    /// It does harm, and gets no calls, though that could not be stored yet.
    is_out: AtomicBool,
    /// What was to be done for it and failed is not tried before.
    not_before: Mutex<Instant>,
    callers: RandomState,
    /// Callers that were heard lately, each in the set of its hash, the last one first.
    heard: Mutex<Box<[u64]>>,
}

/// Callers that are remembered: whoever tries again and again is to count once.
const CALLERS: usize = 4_096;

/// Callers of one set.
const SET: usize = 8;

impl Trial {
    pub(crate) fn new(rollout: Rollout) -> Self {
        let looked_at = Mutex::new(Instant::now());
        let heard = Mutex::new(vec![0; CALLERS].into_boxed_slice());
        let (is_news, callers) = (AtomicBool::new(false), RandomState::new());
        let (is_out, not_before) = (AtomicBool::new(false), Mutex::new(Instant::now()));
        let rollout = Mutex::new(rollout);
        Self { rollout, looked_at, is_news, is_out, not_before, callers, heard }
    }

    /// It is to get no calls any more.
    pub(crate) fn take_out(&self) {
        self.is_out.store(true, Ordering::Release);
    }

    /// Whether it gets none.
    pub(crate) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Acquire)
    }

    /// What was to be done failed: it is left alone for a while.
    pub(crate) fn wait(&self, time: Duration) {
        *lock(&self.not_before) = Instant::now() + time;
    }

    /// Whether it is left alone.
    pub(crate) fn waits(&self) -> bool {
        *lock(&self.not_before) > Instant::now()
    }

    /// Whether a call under this id is the first of late. All calls of an id are on one side: a caller that
    /// tries what fails once more would be taken for many, and harm for what it is not.
    pub(crate) fn is_first(&self, id: &[u8]) -> bool {
        if id.is_empty() {
            return true;
        }
        // No hash is 0: that is a place where nobody is.
        let hash = self.callers.hash_one(id).max(1);
        let sets = (CALLERS / SET) as u64;
        let mut heard = lock(&self.heard);
        let set = &mut heard[(hash % sets) as usize * SET..][..SET];
        let was = set.iter().position(|caller| *caller == hash);
        set[..=was.unwrap_or(SET - 1)].rotate_right(1);
        set[0] = hash;
        was.is_none()
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
        self.is_out.store(false, Ordering::Release);
    }
}
