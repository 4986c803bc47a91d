use std::time::Duration;

use plugin_contract::Explain;

use super::{Decision, Plan, Rollout, Stay};
use crate::{
    Share,
    verdict::{Arm, Outcome, VerdictSettings},
};

fn shares(points: &[u16]) -> Vec<Share> {
    points.iter().map(|points| Share::from_basis_points(*points).unwrap()).collect()
}

fn plan(points: &[u16]) -> Plan {
    Plan::new(shares(points), Duration::from_secs(60), VerdictSettings::default()).unwrap()
}

fn rollout(points: &[u16]) -> Rollout {
    Rollout::new(semver::Version::new(1, 1, 0), plan(points))
}

/// Calls of both sides; of the canary's, one in `fails_every` fails.
fn calls(rollout: &mut Rollout, number: u32, fails_every: Option<u32>) {
    let latency = Duration::from_millis(5);
    for call in 0..number {
        for stable in 0..19 {
            // The active version has its own slow calls.
            let latency = latency * if (call + stable) % 10 == 0 { 3 } else { 1 };
            rollout.observe(Arm::Stable, Outcome { failed: false, latency });
        }
        let latency = latency * if call % 10 == 0 { 3 } else { 1 };
        let failed = fails_every.is_some_and(|every| call % every == 0);
        rollout.observe(Arm::Canary, Outcome { failed, latency });
    }
}

#[track_caller]
fn check_no_plan(points: &[u16], hold: Duration) {
    let plan = Plan::new(shares(points), hold, VerdictSettings::default());
    assert_eq!(plan.unwrap_err().code(), "deploy/invalid-plan");
}

#[test]
fn a_plan_has_growing_shares_and_a_time() {
    let hold = Duration::from_secs(60);
    check_no_plan(&[], hold);
    check_no_plan(&[0, 100], hold);
    check_no_plan(&[10_000], hold);
    check_no_plan(&[100, 100], hold);
    check_no_plan(&[500, 100], hold);
    check_no_plan(&[100], Duration::ZERO);
    check_no_plan(&[100], Plan::HOLD_MAX + Duration::from_secs(1));
    assert_eq!(Plan::default(), plan(&[100, 500, 2_500, 10_000]));
    let text = serde_json::to_string(&Plan::default()).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), Plan::default());
    let bad = text.replace("\"1%\"", "\"0%\"");
    assert!(text != bad && serde_json::from_str::<Plan>(&bad).is_err());
}

#[test]
fn a_healthy_canary_goes_step_by_step_to_all_calls() {
    let mut rollout = rollout(&[500, 2_500, 10_000]);
    for (step, next) in [(0, Decision::Advance), (1, Decision::Promote)] {
        assert_eq!(rollout.step(), step);
        calls(&mut rollout, 200, None);
        assert!(matches!(rollout.decide(), Decision::Stay(Stay::Time { left_ms: 60_000 })));
        rollout.pass(Duration::from_secs(59));
        assert!(matches!(rollout.decide(), Decision::Stay(Stay::Time { left_ms: 1_000 })));
        rollout.pass(Duration::from_secs(1));
        assert_eq!(rollout.decide(), next);
        assert_eq!(rollout.advance(), step == 0);
    }
}

#[test]
fn too_few_calls_tell_nothing_however_long_one_waits() {
    let mut rollout = rollout(&[500, 10_000]);
    calls(&mut rollout, 20, None);
    rollout.pass(Duration::from_secs(3_600));
    let Decision::Stay(Stay::Calls { canary: 20, wanted, .. }) = rollout.decide() else {
        panic!("{:?}", rollout.decide())
    };
    assert!(wanted > 20);
}

#[test]
fn harm_takes_the_canary_back_at_once_and_also_on_hold() {
    for is_on_hold in [false, true] {
        let mut rollout = rollout(&[500, 10_000]);
        rollout.set_on_hold(is_on_hold);
        calls(&mut rollout, 1_000, Some(10));
        assert!(matches!(rollout.decide(), Decision::RollBack(_)), "{:?}", rollout.decide());
    }
}

#[test]
fn on_hold_and_at_the_last_share_the_operator_decides() {
    let mut held = rollout(&[500, 10_000]);
    held.set_on_hold(true);
    calls(&mut held, 200, None);
    held.pass(Duration::from_secs(60));
    assert_eq!(held.decide(), Decision::Stay(Stay::Operator));
    held.set_on_hold(false);
    assert_eq!(held.decide(), Decision::Promote);

    let mut last = rollout(&[500]);
    calls(&mut last, 200, None);
    last.pass(Duration::from_secs(60));
    assert_eq!(last.decide(), Decision::Stay(Stay::Operator));
}

#[test]
fn it_goes_on_where_it_was_stored() {
    let mut rollout = rollout(&[500, 2_500, 10_000]);
    assert!(rollout.advance());
    calls(&mut rollout, 200, None);
    rollout.pass(Duration::from_secs(30));
    let text = serde_json::to_string(&rollout).unwrap();
    let mut read: Rollout = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (read.step(), read.share(), read.held()),
        (1, shares(&[2_500])[0], Duration::from_secs(30))
    );
    assert_eq!(read.decide(), rollout.decide());
    read.pass(Duration::from_secs(30));
    assert_eq!(read.decide(), Decision::Promote);
    // What was changed on the way is no reason to panic.
    let bad = text.replace("\"step\":1", "\"step\":77");
    assert_ne!(text, bad);
    assert_eq!(serde_json::from_str::<Rollout>(&bad).unwrap().share(), Share::ALL);
}
