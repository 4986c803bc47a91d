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

struct Ticks {
    left: AtomicU64,
    granted: AtomicU64,
}

impl CpuMeter {
    /// Has `store` counted in ticks of this length. At each tick the guest also lets the executor
    /// turn to other work, so that no guest holds a thread.
    pub(crate) fn install<T>(store: &mut Store<T>, tick: Duration) -> Self {
        let ticks = Arc::new(Ticks { left: AtomicU64::new(0), granted: AtomicU64::new(0) });
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
        store.set_epoch_deadline(1);
    }
    /// Time spent executing since the meter was armed, in whole ticks: the mean of many calls is right,
    /// that of one call is a guess.
    pub(crate) fn used(&self) -> Duration {
        let granted = self.ticks.granted.load(Ordering::Relaxed);
        let used = granted.saturating_sub(self.ticks.left.load(Ordering::Relaxed));
        self.tick.saturating_mul(u32::try_from(used).unwrap_or(u32::MAX))
    }
}
