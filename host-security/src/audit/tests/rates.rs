use std::time::{Duration, Instant};

use super::{noon, violation};
use crate::audit::{
    AuditEvent,
    rates::{Answer, Rates},
};

/// How many of `events` equal events are kept, each `apart` from the one before.
#[track_caller]
fn check(
    rates: &mut Rates,
    plugin: &str,
    start: Instant,
    (events, apart): (u32, Duration),
    kept: usize,
) {
    let keeps = |at: &u32| {
        rates.admit(&violation(plugin, "open", "/"), start + apart * *at) == Answer::Keep
    };
    assert_eq!((0..events).filter(keeps).count(), kept);
}

const ONCE: Duration = Duration::ZERO;

#[test]
fn a_plugin_may_tell_a_burst_and_then_so_much_in_a_second() {
    let (mut rates, start) = (Rates::new(50, 100), Instant::now());
    check(&mut rates, "a", start, (1_000, ONCE), 100);
    check(&mut rates, "a", start + Duration::from_secs(1), (1_000, ONCE), 50);
    let later = start + Duration::from_secs(100);
    check(&mut rates, "a", later, (1_000, ONCE), 100);
    check(&mut rates, "b", start, (1_000, Duration::from_millis(20)), 1_000);
}

#[test]
fn a_plugin_takes_nothing_from_another() {
    let (mut rates, start) = (Rates::new(1, 10), Instant::now());
    check(&mut rates, "loud", start, (1_000, ONCE), 10);
    check(&mut rates, "quiet", start, (10, ONCE), 10);
}

#[test]
fn what_is_done_to_a_plugin_is_kept_however_loud_it_is() {
    let (mut rates, start) = (Rates::new(1, 10), Instant::now());
    check(&mut rates, "loud", start, (1_000, ONCE), 10);
    let event = AuditEvent::Lifecycle {
        plugin: "loud".to_owned(),
        revision: "1.0.0".to_owned(),
        operation: "unloaded".to_owned(),
        detail: String::new(),
        timestamp: noon(),
    };
    assert_eq!(rates.admit(&event, start), Answer::Keep);
}

#[test]
fn a_flood_of_one_kind_hides_no_other() {
    let (mut rates, start) = (Rates::new(1, 10), Instant::now());
    check(&mut rates, "loud", start, (1_000, ONCE), 10);
    let rare = violation("loud", "connect", "10.0.0.1:80");
    assert_eq!(rates.admit(&rare, start), Answer::Keep);
    assert_eq!(rates.admit(&rare, start), Answer::Counted { first: false });
    assert_eq!(rates.admit(&rare, start + Duration::from_secs(1)), Answer::Keep);
}

#[test]
fn a_grant_costs_what_it_writes_and_is_kept_whole() {
    let (mut rates, start) = (Rates::new(10, 10), Instant::now());
    let grant = |decisions| AuditEvent::Granted {
        plugin: "a".to_owned(),
        revision: "1.0.0".to_owned(),
        decisions: vec![String::new(); decisions],
        timestamp: noon(),
    };
    assert_eq!(rates.admit(&grant(50), start), Answer::Keep);
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(rates.admit(&grant(1), after(3)), Answer::Counted { first: true });
    assert_eq!(rates.admit(&grant(1), after(5)), Answer::Keep);
}

#[test]
fn what_is_not_kept_is_counted_by_type_and_operation_and_told_once() {
    let (mut rates, start) = (Rates::new(0, 0), Instant::now());
    assert!(!rates.has_folded());
    for (operation, times) in [("open", 3), ("unlink\n", 2)] {
        for _ in 0..times {
            rates.admit(&violation("a", operation, "/"), start);
        }
    }
    assert!(rates.has_folded());
    let folded = rates.take_folded();
    assert_eq!(folded.len(), 1);
    let counts: Vec<_> = folded[0].counts.iter().map(|(name, count)| (&**name, *count)).collect();
    assert_eq!(counts, [("fs-access-denied open", 3), ("fs-access-denied unlink\\n", 2)]);
    assert_eq!((folded[0].total(), rates.has_folded()), (5, false));
    assert!(rates.take_folded().is_empty());
    let first = rates.admit(&violation("a", "open", "/"), start);
    assert_eq!(first, Answer::Counted { first: true });
}

#[test]
fn names_without_end_take_no_memory_without_end_and_are_counted() {
    let (mut rates, start) = (Rates::new(1, 1), Instant::now());
    let mut kept = 0;
    for at in 0..20_000_u32 {
        let event = violation(&format!("p{at}"), &format!("op{at}"), "/");
        kept += u64::from(rates.admit(&event, start) == Answer::Keep);
    }
    // Each of those that are told apart, and of all others together one of each of 32 kinds.
    assert_eq!(kept, 4_096 + 32);
    let folded = rates.take_folded();
    assert_eq!((folded.len(), folded[0].plugin.as_str()), (1, "(others)"));
    assert!(folded[0].counts.len() <= 33, "{}", folded[0].counts.len());
    assert_eq!(kept + folded[0].total(), 20_000);
    // When they have been silent for long enough there is room for others.
    check(&mut rates, "new", start + Duration::from_secs(10), (5, ONCE), 1);
    check(&mut rates, "newer", start + Duration::from_secs(10), (5, ONCE), 1);
}
