//! Time and memory.

use plugin_contract::Explain;

use super::{Arena, ViolationType::*, check};

// C01, C03
#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_ended() {
    check(
        "",
        &[
            ("spin", "security/cpu-time-exceeded"),
            ("recurse", "core/trap-stack"),
            ("grow", "security/cpu-time-exceeded"),
        ],
        &[CpuTimeExceeded, MemoryExceeded],
    )
    .await;
}

async fn spins_at_start(place: &str) {
    let Some(arena) = Arena::new(&format!("env.HOSTILE_AT = {place:?}\n")).await else { return };
    let refused = arena.host.refused();
    let codes: Vec<_> = refused.iter().map(|refused| refused.error.code()).collect();
    assert_eq!(codes, ["security/cpu-time-exceeded"]);
    let answer = arena.order("ok").await;
    assert!(answer.starts_with("core/"), "{answer}");
    arena.ends(&[CpuTimeExceeded]).await;
}

// C02
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_spins_when_asked_who_it_is_does_not_start() {
    spins_at_start("get-metadata").await;
}

// C02
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_spins_when_it_prepares_does_not_start() {
    spins_at_start("initialize").await;
}

// C02
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_spins_when_it_is_to_stop_is_dropped() {
    let Some(arena) = Arena::new("env.HOSTILE_AT = \"shutdown\"\n").await else { return };
    arena.survives("ok", "fine").await;
    // Unloading it calls `shutdown`.
    arena.ends(&[]).await;
}

/// Two instances, and little time for each call.
const BUSY: &str =
    "limits.max-instances = 2\nlimits.cpu-time = \"50ms\"\nlimits.timeout = \"10s\"\n";

// C05
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_busy_has_no_more_instances_than_it_may() {
    let Some(arena) = Arena::new(BUSY).await else { return };
    let calls: Vec<String> = (0..200).map(|n| format!("spin {n}")).collect();
    let all = futures::future::join_all(calls.iter().map(|call| arena.order(call)));
    let answers = arena.beside(all).await;
    let known = ["security/cpu-time-exceeded", "core/overloaded", "core/deadline"];
    assert!(answers.iter().all(|answer| known.contains(&answer.as_str())), "{answers:?}");
    assert!(answers.iter().any(|answer| answer == "core/overloaded"), "{answers:?}");
    arena.ends(&[CpuTimeExceeded, InstanceLimitExceeded]).await;
}

// C12
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_that_are_given_up_in_the_middle_leave_nothing_behind() {
    let Some(arena) = Arena::new("").await else { return };
    for n in 0..1_000 {
        let call = arena.order("sleep 1000000000");
        let mut call = std::pin::pin!(call);
        // A few looks at it, and then it is dropped.
        for _ in 0..n % 4 {
            let _ = futures::poll!(&mut call);
            tokio::task::yield_now().await;
        }
    }
    arena.survives("ok", "fine").await;
    arena.ends(&[]).await;
}
