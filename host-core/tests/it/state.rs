//! A plugin's state outlives a reload: it is handed over once, or stays where it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use host_core::{CoreError, Isolation, Terms};
use plugin_contract::Explain;

use crate::{
    Data, budget,
    counter::Counter,
    guests, instance,
    registry::{Shelf, call, named, soon},
    text,
};

const COUNTER: &str = "counter 1.0.0";

/// A shelf with `counter`, which has counted to 2.
async fn counted(
    counter: Counter,
    terms: impl Fn(&mut Terms<Data>) + Send + Sync + 'static,
) -> Shelf {
    let shelf = Shelf::with(|_| {}, terms);
    shelf.put(COUNTER, "", &counter.wat());
    assert!(shelf.load().await.refused.is_empty());
    for count in ["1", "2"] {
        assert_eq!(ask(&shelf).await.unwrap(), count);
    }
    shelf
}

/// The next count.
async fn ask(shelf: &Shelf) -> Result<String, CoreError> {
    loop {
        match shelf.ask(COUNTER, "").await {
            // Whoever holds a revision that was replaced looks for the one that serves.
            Err(CoreError::Retired { .. }) => tokio::task::yield_now().await,
            answer => return answer,
        }
    }
}

/// Puts another revision in the place of `counter`.
async fn reload(shelf: &Shelf, wat: &str) -> Result<(), CoreError> {
    shelf.put(COUNTER, "", wat);
    let (name, version) = named(COUNTER);
    shelf.registry.reload(&name, &version, soon()).await.map(drop)
}

/// Busy, idle, waiting.
fn counts(shelf: &Shelf) -> (u32, u32, u32) {
    let status = shelf.get(COUNTER).pool_status();
    (status.busy, status.idle, status.waiting)
}

#[tokio::test]
async fn a_count_goes_on_after_a_reload() {
    let shelf = counted(Counter::ONE, |_| {}).await;
    reload(&shelf, &Counter::ONE.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "3");
    // A newer version writes another form, and reads the old one.
    let newer = Counter { format: 2, ..Counter::ONE };
    reload(&shelf, &newer.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "4");
    reload(&shelf, &newer.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "5");
    assert_eq!(counts(&shelf), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_counted_once_while_a_plugin_is_reloaded() {
    const CALLERS: u32 = 8;
    const CALLS: u32 = 150;
    let shelf = Arc::new(Shelf::new());
    shelf.put(COUNTER, "", &Counter::ONE.wat());
    shelf.load().await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let shelf = shelf.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..CALLS {
                    seen.push(ask(&shelf).await.unwrap().parse::<u32>().unwrap());
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
                seen
            })
        })
        .collect();
    let mut reloads = 0;
    while !callers.iter().all(|caller| caller.is_finished()) {
        reloads += 1;
        // Every third is refused, and changes nothing.
        let restore = if reloads % 3 == 0 { "(return (call $invalid))" } else { "" };
        let format = 1 + reloads / 10;
        let reloaded = reload(&shelf, &Counter { format, restore, snapshot: "" }.wat()).await;
        assert_eq!(reloaded.is_err(), reloads % 3 == 0, "{reloaded:?}");
    }
    let mut seen = Vec::new();
    for caller in callers {
        let counts = caller.await.unwrap();
        assert!(counts.is_sorted(), "nobody saw the count go back");
        seen.extend(counts);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=CALLERS * CALLS).collect::<Vec<_>>(), "after {reloads} reloads");
    assert!(reloads > 3, "{reloads} reloads");
}

#[track_caller]
fn refused(error: CoreError, code: &str, message: &str) {
    assert_eq!((error.code(), error.to_string().lines().next()), (code, Some(message)));
}

#[tokio::test]
async fn a_form_that_the_next_revision_does_not_know_is_refused_and_named() {
    let shelf = counted(Counter { format: 7, ..Counter::ONE }, |_| {}).await;
    let error = reload(&shelf, &Counter::ONE.wat()).await.unwrap_err();
    refused(
        error,
        "core/state-unknown-format",
        "`counter` 1.0.0 knows forms of state up to 1, and was handed form 7",
    );
    assert_eq!(ask(&shelf).await.unwrap(), "3");
    // Its own form it knows.
    reload(&shelf, &Counter { format: 7, ..Counter::ONE }.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "4");
}

#[tokio::test]
async fn a_state_that_the_next_revision_does_not_take_stays_where_it_was() {
    let shelf = counted(Counter::ONE, |_| {}).await;
    let invalid = Counter { restore: "(return (call $invalid))", ..Counter::ONE };
    let error = reload(&shelf, &invalid.wat()).await.unwrap_err();
    let message = "`counter` 1.0.0 does not take over the state: no count:\\u{1b}";
    refused(error, "core/state-refused", message);
    assert_eq!(ask(&shelf).await.unwrap(), "3");
    assert_eq!(counts(&shelf), (0, 1, 0));
}

#[tokio::test]
async fn a_state_that_a_plugin_does_not_give_it_keeps() {
    let miser = Counter { snapshot: "(return (call $refuse))", ..Counter::ONE };
    let shelf = counted(miser, |_| {}).await;
    let error = reload(&shelf, &Counter::ONE.wat()).await.unwrap_err();
    let message = "`counter` does not give up its state: no count:\\u{1b}";
    refused(error, "core/state-not-given", message);
    assert_eq!(ask(&shelf).await.unwrap(), "3");
    // Whoever does without the state says so first.
    let (name, version) = named(COUNTER);
    shelf.registry.unload(&name, &version, soon()).await.unwrap();
    reload(&shelf, &Counter::ONE.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "1");
}

#[tokio::test]
async fn a_state_that_is_too_large_stays_where_it_was() {
    // The form is the number of bytes beyond four.
    let larger = Counter { format: 7, ..Counter::ONE };
    let shelf = counted(larger, |terms| terms.state_bytes_max = 10).await;
    let newer = Counter { format: 6, ..Counter::ONE };
    let error = reload(&shelf, &newer.wat()).await.unwrap_err();
    let message = "the state of `counter` has 11 bytes, of at most 10";
    refused(error, "core/state-too-large", message);
    assert_eq!(ask(&shelf).await.unwrap(), "3");

    let shelf = counted(newer, |terms| terms.state_bytes_max = 10).await;
    reload(&shelf, &Counter { format: 7, ..Counter::ONE }.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "3");
}

#[tokio::test]
async fn a_state_may_be_larger_than_what_other_calls_carry() {
    // Tests let a call carry 512 KiB.
    let grow = "(if (i32.eq (memory.size) (i32.const 1))
        (then (drop (memory.grow (i32.const 15)))))";
    let large = Counter { format: 700_000, snapshot: grow, restore: "" };
    let mut guest = instance(&large.wat()).await;
    guest.process(&mut text("x"), &budget()).await.unwrap();
    let error = guest.snapshot(200_000, &budget()).await.unwrap_err();
    assert_eq!(error.code(), "core/state-too-large");
    assert!(!guest.is_spent());
    let state = guest.snapshot(1 << 20, &budget()).await.unwrap();
    assert_eq!(format!("{state:?}"), "StateSnapshot { format: 700000, 700004 bytes }");
    // What is past all bounds is not even looked at, and the instance is lost.
    let error = guest.snapshot(100_000, &budget()).await.unwrap_err();
    assert_eq!(error.code(), "core/too-much-data");
    assert!(guest.is_spent());
}

#[tokio::test]
async fn a_revision_that_breaks_on_a_state_does_not_take_the_place_of_the_old_one() {
    for (restore, code) in [
        ("unreachable", "core/trap-unreachable"),
        ("(loop $l (br $l))", "security/cpu-time-exceeded"),
    ] {
        let shelf = counted(Counter::ONE, |_| {}).await;
        let error = reload(&shelf, &Counter { restore, ..Counter::ONE }.wat()).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains("in `restore`"), "{error}");
        assert_eq!(ask(&shelf).await.unwrap(), "3");
        assert_eq!(counts(&shelf), (0, 1, 0));
    }
}

#[tokio::test]
async fn a_plugin_that_breaks_on_giving_its_state_has_lost_it_and_serves_on() {
    for (snapshot, code) in [
        ("unreachable", "core/trap-unreachable"),
        ("(loop $l (br $l))", "security/cpu-time-exceeded"),
    ] {
        let shelf = counted(Counter { snapshot, ..Counter::ONE }, |_| {}).await;
        let error = reload(&shelf, &Counter::ONE.wat()).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains("in `snapshot`"), "{error}");
        assert_eq!(ask(&shelf).await.unwrap(), "1", "by a new instance: the old one is spent");
    }
}

#[tokio::test]
async fn calls_wait_for_a_hand_over_and_go_on_with_the_old_revision_if_it_fails() {
    let shelf = counted(Counter::ONE, |terms| {
        terms.timeout = Duration::from_secs(20);
        terms.cpu_time = Duration::from_millis(500);
    });
    let shelf = Arc::new(shelf.await);
    let spins = Counter { restore: "(loop $l (br $l))", ..Counter::ONE }.wat();
    let reloading = tokio::spawn({
        let shelf = shelf.clone();
        async move { reload(&shelf, &spins).await }
    });
    while counts(&shelf).0 == 0 {
        tokio::task::yield_now().await;
    }
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let shelf = shelf.clone();
            tokio::spawn(async move { ask(&shelf).await.unwrap() })
        })
        .collect();
    let mut waited = false;
    while !reloading.is_finished() {
        waited |= counts(&shelf).2 == 4;
        tokio::task::yield_now().await;
    }
    assert!(waited, "nobody comes in meanwhile");
    assert_eq!(reloading.await.unwrap().unwrap_err().code(), "security/cpu-time-exceeded");
    let mut seen = Vec::new();
    for call in calls {
        seen.push(call.await.unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_reload_that_is_given_up_at_whatever_point_loses_no_state() {
    let slow = || Counter { snapshot: "(call $work)", restore: "(call $work)", ..Counter::ONE };
    let shelf = counted(slow(), |terms| terms.cpu_time = Duration::from_secs(20)).await;
    let wat = slow().wat();
    let mut count = 2;
    for at in 0.. {
        let patience = Duration::from_millis(at * 4);
        let reloaded = tokio::time::timeout(patience, reload(&shelf, &wat)).await;
        count += 1;
        assert_eq!(ask(&shelf).await.unwrap(), count.to_string(), "after {patience:?}");
        assert_eq!(counts(&shelf), (0, 1, 0));
        if let Ok(reloaded) = reloaded {
            reloaded.unwrap();
            assert!(at > 2, "it was never given up");
            break;
        }
    }
}

#[tokio::test]
async fn a_state_is_handed_over_only_if_both_revisions_do_that() {
    let shelf = counted(Counter::ONE, |_| {}).await;
    reload(&shelf, &guests::echo()).await.unwrap();
    assert_eq!(shelf.ask(COUNTER, "hello").await.unwrap(), "hello");
    reload(&shelf, &Counter::ONE.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "1");
}

#[tokio::test]
async fn where_each_call_has_its_own_instance_there_is_no_state() {
    let shelf = Shelf::with(|_| {}, |terms| terms.pool.isolation = Isolation::PerCall);
    shelf.put(COUNTER, "", &Counter { snapshot: "unreachable", ..Counter::ONE }.wat());
    shelf.load().await;
    assert_eq!(shelf.get(COUNTER).terms().pool.instances_max, 3);
    for _ in 0..2 {
        assert_eq!(ask(&shelf).await.unwrap(), "1");
    }
    reload(&shelf, &Counter::ONE.wat()).await.unwrap();
    assert_eq!(ask(&shelf).await.unwrap(), "1");
}

#[tokio::test]
async fn an_instance_that_holds_state_stays_however_old_idle_and_worn_it_is() {
    let shelf = counted(Counter::ONE, |terms| {
        terms.pool.instances_max = 20;
        terms.pool.warm_min = 0;
        (terms.pool.calls_max, terms.pool.age_max) = (1, Duration::ZERO);
        terms.pool.idle_max = Duration::ZERO;
    });
    let shelf = shelf.await;
    assert_eq!(shelf.get(COUNTER).terms().pool.instances_max, 1);
    // Longer than it takes until maintenance comes by.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(ask(&shelf).await.unwrap(), "3");

    // Nor does it make room for others, though they take all there is.
    let spin = guests::v1("(loop $l (br $l)) (unreachable)", "");
    shelf.put("many 1.0.0", "", &spin);
    shelf.load().await;
    let calls = (0..crate::small().pool.instances).map(|_| shelf.ask("many 1.0.0", ""));
    let answers = futures::future::join_all(calls).await;
    let codes: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_err().code()).collect();
    assert!(codes.contains(&"core/host-exhausted"), "{codes:?}");
    assert_eq!(ask(&shelf).await.unwrap(), "4");
}

#[tokio::test]
async fn a_state_that_does_not_come_free_in_time_is_not_handed_over() {
    // Whoever comes first has long, and whoever waits for that does not.
    let revisions = AtomicU32::new(0);
    let shelf = counted(Counter::ONE, move |terms| {
        let first = revisions.fetch_add(1, Ordering::Relaxed) == 0;
        terms.timeout = Duration::from_millis(if first { 300 } else { 20_000 });
        terms.cpu_time = Duration::from_secs(20);
    });
    let shelf = Arc::new(shelf.await);
    let spins = Counter { restore: "(loop $l (br $l))", ..Counter::ONE }.wat();
    let slow = tokio::spawn({
        let (shelf, spins) = (shelf.clone(), spins.clone());
        async move { reload(&shelf, &spins).await }
    });
    while counts(&shelf).0 == 0 {
        tokio::task::yield_now().await;
    }
    let error = reload(&shelf, &spins).await.unwrap_err();
    assert_eq!(error.code(), "core/state-busy");
    assert_eq!(slow.await.unwrap().unwrap_err().code(), "core/deadline");
    assert_eq!(ask(&shelf).await.unwrap(), "3");
}

#[tokio::test]
async fn a_state_is_for_the_next_revision_alone_to_read() {
    let shelf = counted(Counter::ONE, |_| {}).await;
    for asked in ["snapshot()", "restore({format: 1, data: []})"] {
        let error = call(&shelf, COUNTER, &format!("state-transfer#{asked}")).await.unwrap_err();
        assert_eq!(error.code(), "core/not-callable");
    }
    assert_eq!(ask(&shelf).await.unwrap(), "3");
}
