//! What a revision has done so far, in numbers.
//!
//! [`Metrics`] is written by every call and read by few: recording takes some relaxed additions, no
//! lock, no clock and, after the first call, no allocation. [`MetricsSnapshot`] is what readers get.
//! Not here: how busy a pool is (`pool`), and how the numbers are written down for a collector (`host`).

use std::{
    num::NonZero,
    sync::{
        LazyLock, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

#[cfg(test)]
mod tests;

/// Upper ends of the latency buckets: 1, 2, 5 of each power of ten, from 10 µs to 60 s.
const BOUNDS: [Duration; 21] = [
    Duration::from_micros(10),
    Duration::from_micros(20),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Codes that are counted apart. There are fewer; what comes after them is counted as [`OTHER`].
const CODES_MAX: usize = 64;

/// The code of errors beyond [`CODES_MAX`].
const OTHER: &str = "other";

/// The rate of calls forgets by this much: after it, the past weighs 1/e.
const RATE_HORIZON: Duration = Duration::from_secs(60);

/// The numbers of one revision. Those of calls take some kilobytes, and are set aside with the first call.
#[derive(Default)]
pub(crate) struct Metrics {
    called: OnceLock<Box<Called>>,
    /// The bits of a float: calls per second.
    rate: AtomicU64,
    sampled: Mutex<Option<Sample>>,
}

struct Called {
    /// What every call writes, once for each core: cores that write to the same words wait for each
    /// other, ten times as long as the writing takes.
    shards: Box<[Shard]>,
    last_ns: AtomicU64,
    errors: [ErrorCount; CODES_MAX],
    errors_other: AtomicU64,
}

/// The calls that ended on some of the threads. On cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    latency_ns: AtomicU64,
    cpu_ns: AtomicU64,
    /// One for each bound, and one for what is above all of them. Their sum is the number of calls.
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

/// One for each core; 16 are enough for any number of them.
static SHARDS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get).min(16));

/// Threads that have recorded a call so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which of them this one is.
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

/// A code and how often it came. The first to need a slot takes it, and it is never given up.
#[derive(Default)]
struct ErrorCount {
    code: OnceLock<&'static str>,
    count: AtomicU64,
}

/// How many calls there were when the rate was last looked at.
struct Sample {
    at: Instant,
    calls: u64,
    rate: Option<f64>,
}

impl Default for Called {
    fn default() -> Self {
        Self {
            shards: (0..*SHARDS).map(|_| Shard::default()).collect(),
            last_ns: AtomicU64::new(0),
            errors: std::array::from_fn(|_| ErrorCount::default()),
            errors_other: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// A call has ended, after `latency` as its caller saw it and `cpu` of execution; `code` is that of
    /// its error.
    pub(crate) fn record(&self, latency: Duration, cpu: Duration, code: Option<&'static str>) {
        let called = self.called.get_or_init(Box::default);
        // A thread that is ending has no number any more.
        let thread = THREAD.try_with(|thread| *thread).unwrap_or(0);
        let shard = &called.shards[thread % called.shards.len()];
        let bucket = BOUNDS.partition_point(|bound| *bound < latency);
        let latency = nanos(latency);
        shard.buckets[bucket].fetch_add(1, Relaxed);
        shard.latency_ns.fetch_add(latency, Relaxed);
        if !cpu.is_zero() {
            shard.cpu_ns.fetch_add(nanos(cpu), Relaxed);
        }
        called.last_ns.store(latency, Relaxed);
        if let Some(code) = code {
            called.count_of(code).fetch_add(1, Relaxed);
        }
    }

    /// Brings the rate of calls up to date. To be called every few seconds; the first call only starts
    /// the measurement.
    pub(crate) fn sample(&self, now: Instant) {
        let calls = self.called.get().map_or(0, |called| called.calls());
        // Nothing panics while it holds the lock.
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = sampled.as_mut() else {
            *sampled = Some(Sample { at: now, calls, rate: None });
            return;
        };
        let elapsed = now.saturating_duration_since(last.at).as_secs_f64();
        if elapsed <= 0.0 {
            return;
        }
        let current = calls.saturating_sub(last.calls) as f64 / elapsed;
        let rate = match last.rate {
            Some(past) => {
                let forgotten = 1.0 - (-elapsed / RATE_HORIZON.as_secs_f64()).exp();
                past + (current - past) * forgotten
            }
            None => current,
        };
        *last = Sample { at: now, calls, rate: Some(rate) };
        self.rate.store(rate.to_bits(), Relaxed);
    }

    /// The numbers as they are now. Calls that end meanwhile may be in some of them and not in others.
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        let called = self.called.get().map(|called| called.snapshot()).unwrap_or_default();
        MetricsSnapshot { rate_per_second: f64::from_bits(self.rate.load(Relaxed)), ..called }
    }
}

impl Called {
    fn count_of(&self, code: &'static str) -> &AtomicU64 {
        let slot = self.errors.iter().find(|slot| *slot.code.get_or_init(|| code) == code);
        slot.map_or(&self.errors_other, |slot| &slot.count)
    }

    fn calls(&self) -> u64 {
        self.sum(|shard| shard.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum())
    }

    fn sum(&self, of: impl Fn(&Shard) -> u64) -> u64 {
        self.shards.iter().map(of).fold(0, u64::wrapping_add)
    }

    fn snapshot(&self) -> MetricsSnapshot {
        let count = |i: usize| self.sum(|shard| shard.buckets[i].load(Relaxed));
        let counts: Vec<u64> = (0..=BOUNDS.len()).map(count).collect();
        let named = self.errors.iter().map_while(|slot| {
            let code = *slot.code.get()?;
            Some((code, slot.count.load(Relaxed)))
        });
        let other = (OTHER, self.errors_other.load(Relaxed));
        MetricsSnapshot {
            calls: counts.iter().sum(),
            // A slot is taken a moment before it is counted in.
            errors: named.chain([other]).filter(|(_, count)| *count > 0).collect(),
            latency: LatencySnapshot {
                bounds: &BOUNDS,
                counts,
                sum: Duration::from_nanos(self.sum(|shard| shard.latency_ns.load(Relaxed))),
                last: Duration::from_nanos(self.last_ns.load(Relaxed)),
            },
            cpu_time: Duration::from_nanos(self.sum(|shard| shard.cpu_ns.load(Relaxed))),
            rate_per_second: 0.0,
        }
    }
}

/// A call that took 584 years may as well have taken 585.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a revision has done since it was started.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Calls that have ended, however they ended.
    pub calls: u64,
    /// How many of them failed, by code, in the order in which the codes first came. At most 64 codes,
    /// and `other` for what came after them.
    pub errors: Vec<(&'static str, u64)>,
    /// How long they took, as their callers saw it.
    pub latency: LatencySnapshot,
    /// Time in which the guest's code ran, to within one tick of the engine for each call.
    pub cpu_time: Duration,
    /// Calls per second, of late: weighted exponentially, over about a minute. 0 until it was sampled
    /// twice.
    pub rate_per_second: f64,
}

impl MetricsSnapshot {
    /// The share of calls that failed, from 0 to 1; 0 where there were none.
    pub fn error_rate(&self) -> f64 {
        if self.calls == 0 {
            return 0.0;
        }
        let errors: u64 = self.errors.iter().map(|(_, count)| count).sum();
        // The two were not read at the same moment.
        (errors as f64 / self.calls as f64).min(1.0)
    }
}

/// How long calls took: a histogram.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LatencySnapshot {
    /// Upper ends of the buckets, ascending; a call that took as long as a bound is below it.
    pub bounds: &'static [Duration],
    /// Calls in each bucket, not cumulative: those above the bound before and up to this one. One more
    /// than there are bounds, for the calls above all of them.
    pub counts: Vec<u64>,
    /// All calls together.
    pub sum: Duration,
    /// The call that ended last.
    pub last: Duration,
}

impl Default for LatencySnapshot {
    /// No calls.
    fn default() -> Self {
        let counts = vec![0; BOUNDS.len() + 1];
        Self { bounds: &BOUNDS, counts, sum: Duration::ZERO, last: Duration::ZERO }
    }
}

impl LatencySnapshot {
    /// How many calls there are in it.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean; zero where there were no calls.
    pub fn average(&self) -> Duration {
        match self.count() {
            0 => Duration::ZERO,
            count => Duration::from_secs_f64(self.sum.as_secs_f64() / count as f64),
        }
    }

    /// An estimate of the latency that a share `q` of the calls did not exceed: 0.5 for the median, 0.99
    /// for what one in a hundred exceeds. `q` is held to 0..=1. `None` where there were no calls.
    ///
    /// It is in the same bucket as the true value, so at most three times too high or too low between
    /// 10 µs and 60 s. Of calls that took longer than 60 s it says 60 s.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // The rank of the call that is asked for, from 1. A `q` that is no number asks for the first.
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut below = 0;
        for (i, &inside) in self.counts.iter().enumerate() {
            if below + inside < rank {
                below += inside;
                continue;
            }
            let from = i.checked_sub(1).map_or(Duration::ZERO, |before| self.bounds[before]);
            let Some(to) = self.bounds.get(i) else { return Some(from) };
            // As if the calls were spread evenly over their bucket.
            let share = (rank - below) as f64 / inside as f64;
            return Some(from + (*to - from).mul_f64(share));
        }
        None
    }
}
