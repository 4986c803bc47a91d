use std::time::Duration;

use proptest::prelude::*;

use super::{Arm, Comparison, Finding, Harm, Outcome, Percentile, Symptom, VerdictSettings};

const MS: u64 = 1_000_000;

/// Calls of both arms, one canary in twenty, each ended as the closure says.
fn compare(calls: u64, mut end: impl FnMut(Arm, u64) -> (bool, u64)) -> Comparison {
    let mut comparison = Comparison::new(VerdictSettings::default());
    go_on(&mut comparison, calls, &mut end);
    comparison
}

fn go_on(comparison: &mut Comparison, calls: u64, end: &mut impl FnMut(Arm, u64) -> (bool, u64)) {
    for call in 0..calls {
        // Not every twentieth: what is regular in the calls must not meet what is regular here.
        let arm =
            if fastrand::Rng::with_seed(call).u8(0..20) == 0 { Arm::Canary } else { Arm::Stable };
        let (failed, ns) = end(arm, call);
        comparison.observe(arm, Outcome { failed, latency: Duration::from_nanos(ns) });
    }
}

/// Between 1 and 2 ms, ever the same for one call.
fn latency(call: u64) -> u64 {
    MS + fastrand::Rng::with_seed(!call).u64(0..MS)
}

fn harm(comparison: &Comparison) -> Option<Harm> {
    if let Finding::Harm(harm) = comparison.finding() { Some(harm) } else { None }
}

#[track_caller]
fn check(expected: Option<Symptom>, end: impl FnMut(Arm, u64) -> (bool, u64)) {
    let comparison = compare(50_000, end);
    let found = harm(&comparison);
    assert_eq!(found.map(|harm| harm.symptom), expected, "{:?}", comparison.summary());
    if expected.is_none() {
        assert_eq!(comparison.finding(), Finding::Healthy);
    }
}

#[test]
fn a_canary_like_stable_is_healthy_once_both_answered_enough() {
    let few = compare(1_500, |_, call| (false, latency(call)));
    assert!(
        matches!(few.finding(), Finding::Waiting { canary_calls: 1..=99, wanted: 100, .. }),
        "{:?}",
        few.finding()
    );
    check(None, |_, call| (call % 7 == 0, latency(call)));
}

#[test]
fn a_canary_is_not_healthy_beside_a_stable_arm_that_answered_nothing() {
    let mut comparison = Comparison::new(VerdictSettings::default());
    for _ in 0..100_000 {
        comparison.observe(Arm::Canary, Outcome { failed: true, latency: Duration::ZERO });
    }
    let waiting = Finding::Waiting { stable_calls: 0, canary_calls: 100_000, wanted: 100 };
    assert_eq!(comparison.finding(), waiting);
}

#[test]
fn a_canary_that_fails_more_often_does_harm() {
    check(Some(Symptom::Errors), |arm, call| (arm == Arm::Canary && call % 9 == 0, latency(call)));
}

#[test]
fn a_canary_that_fails_less_often_does_none() {
    check(None, |arm, call| (arm == Arm::Stable && call % 9 == 0, latency(call)));
}

#[test]
fn a_fault_that_hits_both_arms_does_not_count_against_the_canary() {
    check(None, |_, call| ((10_000..20_000).contains(&call), latency(call)));
    check(None, |_, call| (call % 10_000 < 100, latency(call) * (1 + call / 10_000)));
}

#[test]
fn latency_is_harm_beyond_the_tolerance_and_none_up_to_it() {
    // These latencies end at 2 ms, so that the slowest of them tell most.
    let slower = Some(Symptom::Latency(Percentile::P99));
    check(slower, |arm, call| {
        (false, latency(call) * if arm == Arm::Canary { 13 } else { 10 } / 10)
    });
    let tolerated = |ns| ns * 11 / 10 + 50_000;
    let up_to_it = |arm, ns| if arm == Arm::Canary { tolerated(ns) } else { ns };
    check(None, |arm, call| (false, up_to_it(arm, latency(call))));
}

#[test]
fn a_slow_tail_is_harm_even_if_most_calls_are_quick() {
    let tail = Some(Symptom::Latency(Percentile::P99));
    let slow = |arm, call| arm == Arm::Canary && call % 20 == 0;
    check(tail, |arm, call| (false, if slow(arm, call) { 9 * MS } else { latency(call) }));
}

#[test]
fn failing_fast_does_not_make_a_canary_look_quick() {
    // Stable fails as often, and the calls that the canary does answer are slow.
    let end = |arm, call| match (arm, call % 3 == 0) {
        (Arm::Canary, false) => (false, latency(call) * 2),
        (Arm::Canary, true) => (true, 1),
        (Arm::Stable, failed) => (failed, latency(call)),
    };
    assert!(matches!(harm(&compare(50_000, end)).unwrap().symptom, Symptom::Latency(_)));
}

#[test]
fn a_late_answer_where_stable_fails_is_no_harm() {
    let heavy = |call| call % 20 == 0;
    check(None, |arm, call| match (heavy(call), arm) {
        (true, Arm::Stable) => (true, 10 * MS),
        (true, Arm::Canary) => (false, 9 * MS),
        (false, _) => (false, latency(call)),
    });
}

#[test]
fn harm_that_sets_in_late_is_found() {
    let rate = |arm, call: u64| if arm == Arm::Canary && call >= 100_000 { 30 } else { 10 };
    let fails = |arm, call| fastrand::Rng::with_seed(call << 20).u64(0..1_000) < rate(arm, call);
    let comparison = compare(200_000, |arm, call| (fails(arm, call), latency(call)));
    let harm = harm(&comparison).unwrap();
    assert!(harm.stable.calls > 95_000 && harm.symptom == Symptom::Errors, "{harm:?}");
}

#[test]
fn harm_stays_and_says_what_was_seen_when_it_was_found() {
    let end = |arm, call| (arm == Arm::Canary && call < 1_000, latency(call));
    let (soon, late) = (compare(1_000, end), compare(100_000, end));
    assert_eq!(soon.finding(), late.finding());
    let harm = harm(&late).unwrap();
    assert!(harm.e_value >= 1_000.0 && harm.canary.failure_rate == 1.0 && harm.canary.calls < 10);
    let text = harm.to_string();
    assert!(text.starts_with("the canary fails more often: 100.00 % of "), "{text}");
    assert_eq!(late.summary().canary.failures, 45);
}

#[test]
fn the_longest_latency_is_a_latency() {
    let comparison = compare(10_000, |_, call| (false, if call % 2 == 0 { u64::MAX } else { 0 }));
    assert_eq!(comparison.finding(), Finding::Healthy);
    let mut comparison = Comparison::new(VerdictSettings::default());
    for _ in 0..1_000 {
        comparison.observe(Arm::Stable, Outcome { failed: false, latency: Duration::MAX });
    }
    assert!(comparison.summary().stable.p99 > Some(Duration::from_secs(3_600)));
}

#[test]
fn a_restart_changes_nothing() {
    let mut end = |arm, call| (arm == Arm::Canary && call % 50 == 0, latency(call));
    for calls in [0, 1, 63, 64, 1_000, 10_000] {
        let kept = compare(calls, end);
        let text = serde_json::to_string(&kept).unwrap();
        let mut read: Comparison = serde_json::from_str(&text).unwrap();
        let what = |comparison: &Comparison| match comparison.finding() {
            Finding::Harm(harm) => format!("{harm} {:?}", harm.symptom),
            other => format!("{other:?}"),
        };
        assert_eq!(what(&read), what(&kept));
        let mut kept = kept;
        go_on(&mut kept, 20_000, &mut end);
        go_on(&mut read, 20_000, &mut end);
        // As text, for reading JSON may change the last digit of a number.
        assert_eq!(what(&read), what(&kept));
        assert!(harm(&kept).is_some());
    }
}

#[test]
fn torn_state_is_refused() {
    let text = serde_json::to_string(&compare(1_000, |_, call| (false, latency(call)))).unwrap();
    for end in 0..text.len() {
        assert!(serde_json::from_str::<Comparison>(&text[..end]).is_err());
    }
}

/// Every number in a kept state, replaced by a hostile one: it is refused, or does no worse than to
/// judge wrongly.
#[test]
fn hostile_state_neither_panics_nor_leaves_the_finite() {
    let kept = compare(1_000, |arm, call| (arm == Arm::Canary, latency(call)));
    let tame = serde_json::to_value(&kept).unwrap();
    let mut places = Vec::new();
    numbers(&tame, String::new(), &mut places);
    let mut taken = 0;
    for place in places {
        for hostile in ["0", "-1", "1", "255", "18446744073709551615", "1e308", "-1e308", "1e99"] {
            let mut value = tame.clone();
            *value.pointer_mut(&place).unwrap() = serde_json::from_str(hostile).unwrap();
            let Ok(mut read) = serde_json::from_value::<Comparison>(value) else { continue };
            go_on(&mut read, 300, &mut |arm, call| (arm == Arm::Canary, latency(call)));
            let summary = read.summary();
            let all =
                [summary.errors_e_value, summary.latency_e_value, summary.canary.failure_rate];
            assert!(all.into_iter().all(f64::is_finite), "{place} {hostile}: {summary:?}");
            taken += 1;
        }
    }
    assert!(taken > 100);
}

fn numbers(value: &serde_json::Value, place: String, places: &mut Vec<String>) {
    match value {
        serde_json::Value::Number(_) => places.push(place),
        serde_json::Value::Array(values) => {
            let each = values.iter().enumerate();
            each.for_each(|(i, value)| numbers(value, format!("{place}/{i}"), places));
        }
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| numbers(value, format!("{place}/{key}"), places));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_outcomes_in_any_order_leave_finite_numbers(
        calls in prop::collection::vec((any::<bool>(), any::<bool>(), any::<u64>()), 0..2_000),
    ) {
        let mut comparison = Comparison::new(VerdictSettings::default());
        for (canary, failed, ns) in calls {
            let arm = if canary { Arm::Canary } else { Arm::Stable };
            comparison.observe(arm, Outcome { failed, latency: Duration::from_nanos(ns) });
        }
        let summary = comparison.summary();
        prop_assert!(summary.errors_e_value.is_finite() && summary.latency_e_value.is_finite());
        let text = serde_json::to_string(&comparison).unwrap();
        prop_assert!(serde_json::from_str::<Comparison>(&text).is_ok(), "{}", text);
    }
}
