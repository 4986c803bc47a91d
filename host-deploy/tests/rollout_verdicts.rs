//! What `docs/rollout-verdicts.md` promises, on traffic that is simulated from fixed seeds.

use host_deploy::{Share, verdict::Symptom};

#[path = "../examples/verdict-table/simulation.rs"]
mod simulation;
use simulation::{Traffic, found, rolled_back};

/// Whole rollouts of 1 %, 5 % and 25 %, looked at after every call.
#[track_caller]
fn check_alike(traffic: Traffic) {
    let [rollouts, calls] = [1_000, 6_000];
    let rolled_back = rolled_back(&traffic, rollouts, calls);
    println!("{rolled_back} of {rollouts} rolled back");
    assert!(rolled_back <= 10, "{rolled_back}");
}

#[test]
fn a_candidate_like_stable_is_rolled_back_less_than_once_in_a_hundred_rollouts() {
    check_alike(Traffic { failing: 0.01, ..Traffic::CALM });
    check_alike(Traffic { failing: 0.05, sigma: 1.0, ..Traffic::CALM });
}

#[test]
fn nor_is_it_if_failures_and_slow_calls_come_in_bursts() {
    check_alike(Traffic { failing: 0.001, sigma: 1.0, bursts: true, ..Traffic::CALM });
    check_alike(Traffic { failing: 0.02, sigma: 1.0, bursts: true, ..Traffic::CALM });
}

#[test]
fn nor_is_one_that_is_slower_by_less_than_is_tolerated() {
    check_alike(Traffic { slower: 1.05, ..Traffic::CALM });
}

/// 100 steps of five minutes at 1,000 calls a second: 300,000 calls.
#[track_caller]
fn check_harm(errors: bool, canary_calls_max: u64, traffic: Traffic) {
    for share in [500, 2_500].map(Share::from_basis_points).into_iter().flatten() {
        let mut runs: Vec<_> = found(&traffic, share, 100, 300_000)
            .into_iter()
            .flatten()
            .filter(|found| (found.symptom == Symptom::Errors) == errors)
            .filter(|found| found.calls > 0) // not before there was any
            .map(|found| found.canary_calls)
            .collect();
        runs.sort_unstable();
        println!("{share}: {} of 100, after {:?} canary calls", runs.len(), runs.get(50));
        assert!(runs.len() >= 95, "{} of 100", runs.len());
        assert!(runs[50] <= canary_calls_max, "{}", runs[50]);
    }
}

#[test]
fn two_points_more_of_errors_are_found_within_the_step() {
    check_harm(true, 400, Traffic { failing_more: 0.02, ..Traffic::CALM });
    check_harm(true, 1_500, Traffic { failing: 0.01, failing_more: 0.02, ..Traffic::CALM });
    check_harm(true, 6_000, Traffic { failing: 0.05, failing_more: 0.02, ..Traffic::CALM });
}

#[test]
fn a_canary_that_is_slower_by_three_tenths_is_found_within_the_step() {
    check_harm(false, 1_000, Traffic { failing: 0.01, slower: 1.3, ..Traffic::CALM });
    check_harm(false, 3_000, Traffic { failing: 0.01, slower: 1.3, sigma: 1.0, ..Traffic::CALM });
}

#[test]
fn harm_that_sets_in_after_minutes_is_found_within_the_step() {
    let late = Traffic { from_call: 100_000, ..Traffic::CALM };
    check_harm(true, 3_000, Traffic { failing: 0.01, failing_more: 0.02, ..late });
}
