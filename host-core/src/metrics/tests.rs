use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{BOUNDS, CODES_MAX, Metrics, OTHER};

const MS: Duration = Duration::from_millis(1);

fn record_all(latencies: &[Duration]) -> Metrics {
    let metrics = Metrics::default();
    for latency in latencies {
        metrics.record(*latency, Duration::ZERO, None);
    }
    metrics
}

#[test]
fn a_revision_without_calls_has_numbers_too() {
    let snapshot = Metrics::default().snapshot();
    assert_eq!(snapshot, super::MetricsSnapshot::default());
    assert_eq!((snapshot.calls, snapshot.error_rate()), (0, 0.0));
    assert_eq!(snapshot.latency.average(), Duration::ZERO);
    assert_eq!(snapshot.latency.quantile(0.5), None);
}

#[test]
fn calls_are_counted_by_how_they_ended() {
    let metrics = Metrics::default();
    for code in [None, Some("core/deadline"), Some("core/trap-stack"), Some("core/deadline")] {
        metrics.record(2 * MS, 3 * MS, code);
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.calls, 4);
    assert_eq!(snapshot.errors, [("core/deadline", 2), ("core/trap-stack", 1)]);
    assert_eq!(snapshot.error_rate(), 0.75);
    assert_eq!(snapshot.cpu_time, 12 * MS);
    assert_eq!(snapshot.latency.sum, 8 * MS);
    assert_eq!(snapshot.latency.average(), 2 * MS);
}

#[test]
fn codes_beyond_the_table_are_counted_together() {
    let metrics = Metrics::default();
    let codes: Vec<&'static str> =
        (0..CODES_MAX + 3).map(|i| &*Box::leak(format!("test/{i}").into_boxed_str())).collect();
    for code in codes.iter().chain(&codes) {
        metrics.record(MS, Duration::ZERO, Some(code));
    }
    let errors = metrics.snapshot().errors;
    assert_eq!(errors.len(), CODES_MAX + 1);
    assert!(errors[..CODES_MAX].iter().all(|(_, count)| *count == 2));
    assert_eq!(errors[CODES_MAX], (OTHER, 6));
}

#[test]
fn a_call_that_takes_as_long_as_a_bound_is_below_it() {
    for (i, bound) in BOUNDS.iter().enumerate() {
        let latency = record_all(&[*bound, *bound + Duration::from_nanos(1)]).snapshot().latency;
        assert_eq!((latency.counts[i], latency.counts[i + 1]), (1, 1), "{bound:?}");
    }
}

#[test]
fn what_no_bucket_holds_is_told_as_the_last_bound() {
    let latency = record_all(&[Duration::from_secs(3600)]).snapshot().latency;
    assert_eq!(latency.quantile(0.5), Some(Duration::from_secs(60)));
    assert_eq!(latency.last, Duration::from_secs(3600));
}

#[test]
fn no_duration_and_no_quantile_is_too_odd() {
    let metrics = record_all(&[Duration::MAX, Duration::ZERO]);
    for q in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0] {
        assert!(metrics.snapshot().latency.quantile(q).is_some());
    }
}

#[test]
fn the_rate_follows_the_calls_of_the_last_minute() {
    let metrics = Metrics::default();
    let mut now = Instant::now();
    let mut run = |seconds: u32, calls_per_second: u32| {
        for _ in 0..seconds {
            for _ in 0..calls_per_second {
                metrics.record(MS, Duration::ZERO, None);
            }
            now += Duration::from_secs(1);
            metrics.sample(now);
            // At the same moment: no time has passed, so there is nothing to learn.
            metrics.sample(now);
        }
        metrics.snapshot().rate_per_second
    };
    assert_eq!(run(1, 50), 0.0, "there is nothing to compare with yet");
    assert_eq!(run(1, 50), 50.0);
    assert!((run(30, 50) - 50.0).abs() < 1e-9);
    // One horizon later, 1 - 1/e of the change has been taken over.
    let change = (run(60, 100) - 50.0) / 50.0;
    assert!((change - (1.0 - (-1.0_f64).exp())).abs() < 1e-9, "{change}");
    assert!(run(600, 0) < 0.01);
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let metrics = Metrics::default();
    let now = Instant::now();
    metrics.sample(now + Duration::from_secs(9));
    metrics.record(MS, Duration::ZERO, None);
    metrics.sample(now);
    assert_eq!(metrics.snapshot().rate_per_second, 0.0);
}

/// From nothing to two minutes, all magnitudes alike.
fn latency() -> impl Strategy<Value = Duration> {
    (0.0..11.1_f64).prop_map(|magnitude| Duration::from_nanos(10_f64.powf(magnitude) as u64))
}

proptest! {
    #[test]
    fn counts_add_up_whoever_records_at_the_same_time(
        threads in prop::collection::vec(
            prop::collection::vec((latency(), 0..4_usize), 0..200),
            1..5,
        ),
    ) {
        let codes = [None, Some("core/a"), Some("core/b"), Some("core/c")];
        let metrics = Metrics::default();
        std::thread::scope(|scope| {
            for calls in &threads {
                let (metrics, codes) = (&metrics, &codes);
                scope.spawn(move || {
                    for (latency, code) in calls {
                        metrics.record(*latency, *latency / 2, codes[*code]);
                        let seen = metrics.snapshot();
                        assert!(seen.error_rate() <= 1.0);
                    }
                });
            }
        });
        let all: Vec<_> = threads.concat();
        let snapshot = metrics.snapshot();
        prop_assert_eq!(snapshot.calls, all.len() as u64);
        prop_assert_eq!(snapshot.latency.count(), all.len() as u64);
        prop_assert_eq!(snapshot.latency.sum, all.iter().map(|(latency, _)| *latency).sum());
        prop_assert_eq!(snapshot.cpu_time, all.iter().map(|(latency, _)| *latency / 2).sum());
        for (i, code) in codes.iter().enumerate() {
            let Some(code) = code else { continue };
            let expected = all.iter().filter(|(_, c)| *c == i).count() as u64;
            let found = snapshot.errors.iter().find(|(c, _)| c == code).map_or(0, |(_, n)| *n);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_quantile_is_in_the_bucket_of_the_true_one(
        mut latencies in prop::collection::vec(latency(), 1..300),
        q in 0.0..=1.0_f64,
    ) {
        let estimate = record_all(&latencies).snapshot().latency.quantile(q).unwrap();
        latencies.sort();
        let rank = ((q * latencies.len() as f64).ceil() as usize).clamp(1, latencies.len());
        let truth = latencies[rank - 1];
        let above = BOUNDS.partition_point(|bound| *bound < truth);
        let from = if above == 0 { Duration::ZERO } else { BOUNDS[above - 1] };
        let to = BOUNDS.get(above).copied().unwrap_or(from);
        prop_assert!(from <= estimate && estimate <= to, "{truth:?}: {estimate:?}");
    }

    #[test]
    fn a_higher_quantile_is_no_shorter(
        latencies in prop::collection::vec(latency(), 1..100),
        a in 0.0..=1.0_f64,
        b in 0.0..=1.0_f64,
    ) {
        let latency = record_all(&latencies).snapshot().latency;
        prop_assert!(latency.quantile(a.min(b)) <= latency.quantile(a.max(b)));
    }
}
