use super::{EmitRefused, Event, EventLog, EventLogLimits, Origin, OriginTooLong};
use plugin_contract::PluginId;
use std::time::Duration;

fn log(limits: EventLogLimits) -> EventLog {
    EventLog::new(limits)
}

fn emit(log: &EventLog, payload: &str) -> Result<u64, EmitRefused> {
    let source = PluginId::new("a").unwrap();
    let event = Event::new(source.into(), "log.line", payload, 0)?;
    log.append(event).map(|event| event.sequence)
}

#[track_caller]
fn page(log: &EventLog, after: u64, count: usize, sequences: &[u64], next: u64, missed: u64) {
    let page = log.read(after, count);
    let found: Vec<u64> = page.events.iter().map(|event| event.sequence).collect();
    assert_eq!((found.as_slice(), page.next, page.missed), (sequences, next, missed));
}

#[test]
fn events_are_read_in_order_and_more_than_once() {
    let log = log(EventLogLimits::default());
    page(&log, 0, 10, &[], 0, 0);
    (0..3).for_each(|_| assert!(emit(&log, "x").is_ok()));
    page(&log, 0, 2, &[1, 2], 2, 0);
    page(&log, 2, 2, &[3], 3, 0);
    page(&log, 3, 2, &[], 3, 0);
    page(&log, 0, 10, &[1, 2, 3], 3, 0);
    page(&log, u64::MAX, 10, &[], 3, 0);
}

#[test]
fn the_oldest_go_first_and_readers_are_told() {
    let log = log(EventLogLimits { events_max: 2, ..EventLogLimits::default() });
    (0..5).for_each(|_| assert!(emit(&log, "x").is_ok()));
    page(&log, 0, 10, &[4, 5], 5, 3);
    page(&log, 3, 10, &[4, 5], 5, 0);
    page(&log, 4, 10, &[5], 5, 0);
}

#[test]
fn bytes_are_bounded_too() {
    let log = log(EventLogLimits { bytes_max: 10_000, ..EventLogLimits::default() });
    (0..100).for_each(|_| assert!(emit(&log, &"x".repeat(1_000)).is_ok()));
    assert!((1..10).contains(&log.read(0, 100).events.len()));
}

#[test]
fn what_is_not_well_formed_or_too_large_is_refused() {
    let log = log(EventLogLimits { payload_bytes_max: 10, ..EventLogLimits::default() });
    assert_eq!(emit(&log, &"x".repeat(10)), Ok(1));
    assert_eq!(emit(&log, &"x".repeat(11)), Err(EmitRefused::PayloadTooLarge(10)));
    for bad in ["", "A", "a b", "a\n", &"x".repeat(129)] {
        let source = Origin::outside("http").unwrap();
        let refused = Event::new(source.clone(), bad, "", 0);
        assert_eq!(refused, Err(EmitRefused::InvalidType), "{bad:?}");
        let mut event = Event::new(source, "a", "", 0).unwrap();
        event.event_type = bad.to_owned();
        assert_eq!(log.append(event), Err(EmitRefused::InvalidType), "{bad:?}");
    }
    assert_eq!(log.read(0, 10).events.len(), 1);
}

#[test]
fn someone_outside_is_not_the_plugin_of_the_same_name() {
    let plugin = Origin::from(PluginId::new("shop").unwrap());
    let outside = Origin::outside("shop").unwrap();
    assert_ne!(plugin, outside);
    assert_eq!((plugin.as_str(), outside.to_string().as_str()), ("shop", "shop"));
    assert_eq!((plugin.plugin().is_some(), outside.plugin().is_some()), (true, false));
}

#[test]
fn the_name_of_someone_outside_is_bounded() {
    assert_eq!(Origin::outside(&"x".repeat(128)).map(|it| it.as_str().len()), Ok(128));
    assert_eq!(Origin::outside(&"x".repeat(129)), Err(OriginTooLong));
}

#[tokio::test(start_paused = true)]
async fn a_reader_can_wait_for_more() {
    let log = log(EventLogLimits::default());
    emit(&log, "x").unwrap();
    log.changed_past(0).await; // There already.

    let hour = Duration::from_secs(3_600);
    assert!(tokio::time::timeout(hour, log.changed_past(1)).await.is_err(), "there is no more");
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.changed_past(2).await }
    });
    tokio::task::yield_now().await;
    emit(&log, "x").unwrap();
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "the second is not past the second");
    emit(&log, "x").unwrap();
    waiting.await.unwrap();
    log.changed_past(1).await; // Given up above, and none was missed.
}
