//! The host's services: configuration, log, events, environment.

use super::{Arena, SLOW, ViolationType::*, check};

// F01
#[tokio::test(flavor = "multi_thread")]
async fn configuration_has_a_quota_and_no_way_out() {
    check(
        SLOW,
        &[
            ("config-key 1000000", "Err(StoreError::InvalidKey(256))"),
            ("config-key 256", "Ok("),
            ("config-value 1000000", "Err(StoreError::ValueTooLarge(65536))"),
            ("config-value 34000000", "core/too-much-data"),
            ("config-set ../shout-v1/secret x", "Ok("),
            ("config-get ../shout-v1/secret", "Ok(Some(\"x\"))"),
            ("config-list ../", "Ok([\"../shout-v1/secret\"])"),
            ("config-prefix 1000000", "Ok([])"),
            ("config-many 10000000", "1022 Ok(256)"),
        ],
        &[LimitExceeded],
    )
    .await;
}

// F03
#[tokio::test(flavor = "multi_thread")]
async fn events_come_at_a_bounded_rate_and_size() {
    let Some(arena) = Arena::new("").await else { return };
    arena.survives("emit-type 1000000", "Err(EmitError::InvalidType)").await;
    arena.survives("emit-payload 65537", "Err(EmitError::PayloadTooLarge(65536))").await;
    arena.survives("emit-forged", "Err(EmitError::InvalidType)").await;
    arena.survives("emit 100000", "1000").await;
    arena.survives("emit-storm 100000000", "security/cpu-time-exceeded").await;
    let kept = arena.host.events().read(0, usize::MAX);
    assert!(kept.events.len() <= 10_000 && kept.missed == 0, "{}", kept.events.len());
    arena.ends(&[CpuTimeExceeded, LimitExceeded]).await;
}

// F04
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_bounded_whoever_writes_to_it() {
    let Some(arena) = Arena::new(SLOW).await else {
        return;
    };
    arena.survives("log-long 10000000", "said").await;
    arena.survives("loggers 100 1000000", "made").await;
    arena.survives("loggers 100000 8", "made").await;
    arena.survives("loggers-held 1000000", "security/handles-exceeded").await;
    arena.survives("log-storm 100000", "Err(LogError::RateLimited(99000))").await;
    let said = arena.said();
    assert!(said.lines().count() < 4_000, "{} lines", said.lines().count());
    assert!(said.contains("log lines past the plugin's share were dropped"));
    arena.ends(&[LimitExceeded]).await;
}

// F05
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_sees_what_it_was_granted_and_nothing_of_the_hosts() {
    let Some(arena) = Arena::new("env.HOSTILE_SECRET = \"its own\"\n").await else { return };
    arena.survives("seen", "[(\"HOSTILE_SECRET\", \"its own\")] [] None [\"/\"]").await;
    arena.survives("environment", "[(\"HOSTILE_SECRET\", \"its own\")]").await;
    arena.ends(&[]).await;
}

// The largest texts there may be, from many threads at once: the allocator must not keep what they took.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn large_texts_leave_memory_as_it_was() {
    let Some(arena) = Arena::new(SLOW).await else { return };
    for _ in 0..10 {
        let storm =
            (0..2).map(|_| async { arena.order("log-long 30000000\nconfig-value 30000000").await });
        let _ = arena.beside(futures::future::join_all(storm)).await;
    }
    arena.ends(&[]).await;
}
