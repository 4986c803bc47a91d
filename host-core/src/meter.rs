//! CPU time of one store, counted in ticks of its engine while guest code runs.
//!
//! The engine looks at the clock only in guest code, so a guest that waits for the host spends
//! nothing. No clock is read per call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use wasmtime::{Store, UpdateDeadline};

/// Ends a guest that has used up its time of execution.
#[derive(Debug, thiserror::Error)]
#[error("{} ms of execution are used up", limit.as_millis())]
pub(crate) struct CpuTimeExceeded {
    pub(crate) limit: Duration,
}

/// Counts what is left of the current call's CPU time.
pub(crate) struct CpuMeter {
    ticks: Arc<Ticks>,
    tick: Duration,
}

#[derive(Default)]
struct Ticks {
    left: AtomicU64,
    granted: AtomicU64,
    /// What was granted besides, for work that was handed on.
    earned: AtomicU64,
}

/// Bytes for which a stream earns its CPU time once more.
const EARNING_BYTES: u64 = 1 << 20;

/// Grants a guest more CPU time for what it hands on: as much as it had at first for each MiB, and never
/// more than that in stock. So a stream of any length has the time it needs, and a guest that works
/// without an end and hands nothing on does not.
pub(crate) struct Earnings {
    ticks: Arc<Ticks>,
    /// Bytes, times ticks, that were not enough for a tick yet.
    rest: AtomicU64,
}

impl Earnings {
    /// For what moves without a guest.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { ticks: Arc::default(), rest: AtomicU64::new(0) }
    }

    /// So many bytes were handed on.
    pub(crate) fn earn(&self, bytes: usize) {
        let Ticks { left, granted, earned } = &*self.ticks;
        let granted = granted.load(Ordering::Relaxed);
        // One thread at a time is in a store: nothing comes between.
        let earned_now = (bytes as u64).saturating_mul(granted);
        let rest = self.rest.load(Ordering::Relaxed).saturating_add(earned_now);
        self.rest.store(rest % EARNING_BYTES, Ordering::Relaxed);
        let before = left.load(Ordering::Relaxed);
        let after = before.saturating_add(rest / EARNING_BYTES).min(granted.max(before));
        left.store(after, Ordering::Relaxed);
        earned.fetch_add(after - before, Ordering::Relaxed);
    }
}

impl CpuMeter {
    /// Has `store` counted in ticks of this length. At each tick the guest also lets the executor
    /// turn to other work, so that no guest holds a thread.
    pub(crate) fn install<T>(store: &mut Store<T>, tick: Duration) -> Self {
        let ticks = Arc::<Ticks>::default();
        let seen = ticks.clone();
        store.epoch_deadline_callback(move |_| {
            let left = seen.left.load(Ordering::Relaxed);
            if left == 0 {
                let granted = seen.granted.load(Ordering::Relaxed);
                let limit = tick.saturating_mul(u32::try_from(granted).unwrap_or(u32::MAX));
                return Err(wasmtime::Error::new(CpuTimeExceeded { limit }));
            }
            seen.left.store(left - 1, Ordering::Relaxed);
            // Tokio's own way to yield lets it look at sockets and timers first. The engine's would
            // have the guest polled again, up to 61 ticks in a row.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        Self { ticks, tick }
    }

    /// Grants the next call `cpu_time`, rounded up to ticks. Before every entry into the guest:
    /// start functions, allocation and clean-up are guest code, too.
    pub(crate) fn arm<T>(&self, store: &mut Store<T>, cpu_time: Duration) {
        let ticks = cpu_time.as_nanos().div_ceil(self.tick.as_nanos().max(1));
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        self.ticks.granted.store(ticks, Ordering::Relaxed);
        self.ticks.left.store(ticks, Ordering::Relaxed);
        self.ticks.earned.store(0, Ordering::Relaxed);
        store.set_epoch_deadline(1);
    }

    /// What the call that is armed earns by handing on bytes.
    pub(crate) fn earnings(&self) -> Earnings {
        Earnings { ticks: self.ticks.clone(), rest: AtomicU64::new(0) }
    }

    /// Time spent executing since the meter was armed, in whole ticks: the mean of many calls is right,
    /// that of one call is a guess.
    pub(crate) fn used(&self) -> Duration {
        let Ticks { left, granted, earned } = &*self.ticks;
        let had = granted.load(Ordering::Relaxed).saturating_add(earned.load(Ordering::Relaxed));
        let used = had.saturating_sub(left.load(Ordering::Relaxed));
        self.tick.saturating_mul(u32::try_from(used).unwrap_or(u32::MAX))
    }
}
