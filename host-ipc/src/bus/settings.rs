//! How much the bus holds, and how hard it tries.

use std::time::Duration;

/// The bounds of an [`EventBus`](crate::EventBus).
///
/// | field                    | unit     | default | at the limit                                              |
/// |--------------------------|----------|---------|-----------------------------------------------------------|
/// | `sources_at_once`        | sources  | 4       | the other sources wait for their turns                    |
/// | `attempts_max`           | attempts | 5       | the event becomes a dead letter                           |
/// | `away_max`               | looks    | 160     | so many for who is away, then a dead letter               |
/// | `backoff_min`            | time     | 100 ms  | the wait after the first attempt; doubles with each       |
/// | `backoff_max`            | time     | 5 s     | waits grow no longer                                      |
/// | `queue_events_max`       | events   | 1,024   | a dead letter of that subscriber, `ipc/queue-full`        |
/// | `queue_bytes_max`        | bytes    | 4 MiB   | the same                                                  |
/// | `bytes_max`              | bytes    | 64 MiB  | `emit` gives `QueueFull`; `publish` makes dead letters    |
/// | `hops_max`               | hops     | 16      | logged, delivered to nobody; dead letters `ipc/event-loop`|
/// | `dead_letters_max`       | letters  | 1,000   | the oldest goes, and is counted                           |
/// | `dead_letters_bytes_max` | bytes    | 8 MiB   | the same                                                  |
///
/// The first seven hold for each subscriber by itself, the others for the bus. `bytes_max` counts an event
/// once, however many subscribers it waits for, and 512 bytes more for each of them; dead letters each
/// count their event whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusSettings {
    /// Sources that a subscriber is given events of at the same time. At least one.
    pub sources_at_once: usize,
    /// Times that an event is delivered to a subscriber that asks for it again. At least one.
    pub attempts_max: u32,
    /// Times that it is looked whether a subscriber is back that says it is away, for each source. With the
    /// waits below, 160 of them are about twelve minutes; then each event has one look.
    pub away_max: u32,
    /// Wait after the first attempt. Each wait is shortened by a random share of up to a fifth, so that
    /// what failed together does not come back together.
    pub backoff_min: Duration,
    /// Longest wait between two attempts. More than a day is a day.
    pub backoff_max: Duration,
    /// Events that wait for one subscriber, those under way included.
    pub queue_events_max: usize,
    /// Their bytes. An event larger than that reaches nobody.
    pub queue_bytes_max: usize,
    /// Bytes that wait for all subscribers together.
    pub bytes_max: usize,
    /// Events that may have led to an event, one from within the handling of the other.
    pub hops_max: u32,
    /// Dead letters kept.
    pub dead_letters_max: usize,
    /// Their bytes.
    pub dead_letters_bytes_max: usize,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            sources_at_once: 4,
            attempts_max: 5,
            away_max: 160,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            queue_events_max: 1_024,
            queue_bytes_max: 4 << 20,
            bytes_max: 64 << 20,
            hops_max: 16,
            dead_letters_max: 1_000,
            dead_letters_bytes_max: 8 << 20,
        }
    }
}

/// Longest wait between two attempts, whatever the settings say: no clock overflows with it.
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl BusSettings {
    /// How long to wait after `attempts` of them failed. `jitter` is in thousandths of the largest share
    /// that a wait is shortened by.
    pub(super) fn backoff(&self, attempts: u32, jitter: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let most = self.backoff_max.min(DAY);
        let wait = self.backoff_min.saturating_mul(1 << doublings).min(most);
        wait - wait / 5_000 * jitter.min(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::{BusSettings, DAY};
    use std::time::Duration;

    #[track_caller]
    fn check(attempts: u32, jitter: u32, ms: u64) {
        let wait = BusSettings::default().backoff(attempts, jitter);
        assert_eq!(wait, Duration::from_millis(ms));
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        for (attempts, ms) in [(0, 100), (1, 100), (2, 200), (6, 3_200), (7, 5_000), (99, 5_000)] {
            check(attempts, 0, ms);
        }
    }

    #[test]
    fn a_wait_is_shortened_by_a_fifth_at_most() {
        check(1, 500, 90);
        check(1, 1_000, 80);
        check(1, u32::MAX, 80);
    }

    #[test]
    fn no_setting_makes_a_wait_that_a_clock_cannot_count() {
        let (backoff_min, backoff_max) = (Duration::MAX, Duration::MAX);
        let settings = BusSettings { backoff_min, backoff_max, ..BusSettings::default() };
        assert_eq!(settings.backoff(u32::MAX, 0), DAY);
    }
}
