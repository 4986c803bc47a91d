use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use plugin_contract::Digest;

use proptest::prelude::*;

use super::{Closed, Key, Revision, Router};
use crate::{Share, Split, SplitKey, verdict::Arm};

fn revision(patch: u64) -> Revision {
    Revision {
        plugin: "a".parse().unwrap(),
        version: semver::Version::new(1, 0, patch),
        digest: Digest::from_bytes([patch as u8; 32]),
    }
}

#[tokio::test]
async fn calls_under_way_keep_what_they_have_and_new_ones_get_the_new() {
    let router = Router::new(revision(0), "old");
    let call = router.route(Key::default()).unwrap();
    let old = router.activate(revision(1), "new").unwrap();
    assert_eq!((*call, *router.route(Key::default()).unwrap()), ("old", "new"));
    assert_eq!((old.in_flight(), old.revision()), (1, &revision(0)));
    let waiting = tokio::spawn(async move { old.drained().await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(call);
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_closed_router_takes_no_calls() {
    let router = Router::new(revision(0), ());
    let call = router.route(Key::default()).unwrap();
    let old = router.close().pop().unwrap();
    assert_eq!(router.route(Key::default()).map(drop), Err(Closed));
    assert_eq!(router.activate(revision(1), ()).map(drop), Err(Closed));
    assert!(router.close().is_empty() && router.revision().is_none());
    drop(call);
    old.drained().await;
}

/// Each revision's handle says whether it was drained; no call may find one that was.
#[test]
fn no_call_is_answered_by_a_revision_after_its_drain() {
    let router = Arc::new(Router::new(revision(0), AtomicBool::new(false)));
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let caller = || {
        let (router, stop, calls) = (router.clone(), stop.clone(), calls.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let lease = router.route(Key::default()).unwrap();
                assert!(!lease.load(Ordering::SeqCst), "answered by a drained revision");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let callers: Vec<_> = (0..4).map(|_| caller()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut swaps = 0;
    while swaps < 2_000 || calls.load(Ordering::Relaxed) < 10_000 {
        swaps += 1;
        let old = router.activate(revision(swaps), AtomicBool::new(false)).unwrap();
        runtime.block_on(old.drained());
        old.handle().store(true, Ordering::SeqCst);
    }
    stop.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

fn split(percent: u16) -> Split {
    let share = Share::from_basis_points(percent * 100).unwrap();
    Split::new(&SplitKey::from_bytes([3; 16]), b"a 1.0.1", share)
}

fn key(id: &str) -> Key<'_> {
    Key { id: id.as_bytes(), pin: None }
}

#[test]
fn a_canary_gets_its_share_and_the_same_ids_again() {
    let router = Router::new(revision(0), "old");
    assert_eq!(router.route(key("x")).unwrap().arm(), None);
    assert!(router.set_canary(revision(1), "new", split(5)).unwrap().is_none());
    let side = |id: u32| *router.route(key(&format!("request-{id}"))).unwrap();
    let sides: Vec<_> = (0..100_000).map(side).collect();
    let canary = sides.iter().filter(|side| **side == "new").count();
    assert!((4_800..5_200).contains(&canary), "{canary}");
    assert_eq!((0..1_000).map(side).collect::<Vec<_>>(), sides[..1_000]);
    // Whoever was in the share stays there when it grows.
    assert!(router.set_split(split(25)));
    let still = |(id, was): (usize, &&str)| *was == "old" || side(id as u32) == "new";
    assert!(sides.iter().enumerate().take(10_000).all(still));
}

#[test]
fn calls_without_an_id_are_spread_too() {
    let router = Router::new(revision(0), "old");
    router.set_canary(revision(1), "new", split(5)).unwrap();
    let canary = (0..20_000).filter(|_| *router.route(Key::default()).unwrap() == "new").count();
    assert!((800..1_200).contains(&canary), "{canary}");
}

#[test]
fn whoever_chooses_a_side_gets_it_and_does_not_count() {
    let router = Router::new(revision(0), "old");
    let pinned = |pin| Key { id: b"id", pin: Some(pin) };
    assert_eq!(*router.route(pinned(Arm::Canary)).unwrap(), "old");
    router.set_canary(revision(1), "new", split(1)).unwrap();
    for (pin, handle) in [(Arm::Canary, "new"), (Arm::Stable, "old")] {
        let lease = router.route(pinned(pin)).unwrap();
        assert_eq!((*lease, lease.arm(), lease.counted_arm()), (handle, Some(pin), None));
    }
    let lease = router.route(key("id")).unwrap();
    assert_eq!(lease.counted_arm(), lease.arm());
}

#[test]
fn promoting_and_withdrawing_lead_all_calls_to_one_side() {
    let router = Router::new(revision(0), "old");
    assert!(router.promote().is_none() && router.withdraw().is_none());
    assert!(!router.set_split(split(1)));
    router.set_canary(revision(1), "new", split(50)).unwrap();
    assert_eq!(router.withdraw().unwrap().revision(), &revision(1));
    assert!((0..100).all(|id| *router.route(key(&id.to_string())).unwrap() == "old"));
    router.set_canary(revision(1), "new", split(50)).unwrap();
    assert_eq!(router.promote().unwrap().revision(), &revision(0));
    assert!((0..100).all(|id| *router.route(key(&id.to_string())).unwrap() == "new"));
    assert_eq!((router.revision(), router.canary()), (Some(revision(1)), None));
}

proptest! {
    /// Whatever operators do: calls are answered by what serves or by the canary, and what drains is neither.
    #[test]
    fn calls_go_to_what_serves_or_to_the_canary(
        steps in prop::collection::vec((0_u8..5, 0_u16..=100), 1..40),
    ) {
        let router = Router::new(revision(0), 0);
        let (mut stable, mut canary, mut last) = (0, None, 0);
        for (step, percent) in steps {
            last += 1;
            let drained = match step {
                0 => {
                    let old = router.activate(revision(last), last).unwrap();
                    stable = last;
                    Some(old)
                }
                1 => {
                    let old = router.set_canary(revision(last), last, split(percent)).unwrap();
                    canary = Some(last);
                    old
                }
                2 => {
                    prop_assert_eq!(router.set_split(split(percent)), canary.is_some());
                    None
                }
                3 => {
                    let old = router.promote();
                    stable = canary.take().unwrap_or(stable);
                    old
                }
                _ => {
                    canary = None;
                    router.withdraw()
                }
            };
            for id in 0..20 {
                let answered = *router.route(key(&id.to_string())).unwrap();
                prop_assert!(answered == stable || Some(answered) == canary);
                prop_assert!(drained.as_ref().is_none_or(|old| *old.handle() != answered));
            }
            if let Some(drained) = drained {
                prop_assert_eq!(drained.in_flight(), 0);
            }
        }
    }
}
