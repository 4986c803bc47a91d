//! What happens at each limit.

use super::*;
use crate::EmitRefused;

fn emit(source: &crate::EventSource, payload: &str) -> Result<u64, EmitRefused> {
    source.emit("test.event", payload, 0, &after(0))
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_a_queue_is_dead_for_that_subscriber_only() {
    let bus = bus_with(BusSettings { queue_events_max: 2, ..BusSettings::default() });
    let (stuck, quick) = (Scripted::new([Answer::Never]), Scripted::new([]));
    subscribe(&bus, "stuck", &stuck);
    subscribe(&bus, "quick", &quick);
    let source = bus.source(id("shop"));
    for (payload, sequence) in [("1", 1), ("2", 2), ("3", 3)] {
        assert_eq!(emit(&source, payload), Ok(sequence), "a full queue is not the emitter's fault");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(quick.seen(), ["1", "2", "3"]);
    assert_eq!(letters(&bus), [("stuck".into(), "3".into(), "ipc/queue-full", 0)]);
    let counts = bus.counts();
    let stuck = counts.subscribers.iter().find(|it| it.name == id("stuck")).unwrap();
    assert_eq!((stuck.queued, stuck.dead), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_bounded_in_bytes_too() {
    let bus = bus_with(BusSettings { queue_bytes_max: 10_000, ..BusSettings::default() });
    subscribe(&bus, "one", &Scripted::new([Answer::Never]));
    let large = "x".repeat(6_000);
    let published = publish_all(&bus, "http", [large.as_str(), &large, "small"]);
    assert_eq!(dead(&only(&published[1]).await), ("ipc/queue-full", 0));
    assert_eq!(published[2].so_far(), [(id("one"), None)]);
    let too_large = "x".repeat(10_000);
    assert_eq!(dead(&only(&bus.publish(event("other", &too_large))).await), ("ipc/queue-full", 0));
}

#[tokio::test(start_paused = true)]
async fn past_the_budget_of_all_queues_nothing_is_taken() {
    let bus = bus_with(BusSettings { bytes_max: 10_000, ..BusSettings::default() });
    subscribe(&bus, "one", &Scripted::new([Answer::Never]));
    let source = bus.source(id("shop"));
    let payload = "x".repeat(6_000);
    assert_eq!(emit(&source, &payload), Ok(1));
    assert_eq!(emit(&source, &payload), Err(EmitRefused::QueueFull));
    assert_eq!(bus.log().read(0, 10).events.len(), 1, "what was refused is not in the log");
    assert_eq!((bus.counts().published, bus.dead_letters(0, 9).letters.len()), (1, 0));
    assert_eq!(dead(&only(&bus.publish(event("http", &payload))).await), ("ipc/queue-full", 0));
    assert_eq!(emit(&source, "small"), Ok(2));
    assert_eq!(source.emit("nobody.cares", &payload, 0, &after(0)), Ok(3), "it waits nowhere");
}

#[tokio::test(start_paused = true)]
async fn an_event_counts_once_however_many_it_waits_for() {
    let bus = bus();
    let subscriber = Scripted::slow(Duration::from_secs(1));
    (0..100).for_each(|n| subscribe(&bus, &format!("s{n}"), &subscriber));
    bus.publish(event("http", &"x".repeat(60_000)));
    let bytes = bus.counts().queued_bytes;
    assert!((60_000 + 100 * 512..61_000 + 100 * 512).contains(&bytes), "{bytes}");
    assert_eq!(bus.close(soon()).await, 0);
    assert_eq!(bus.counts().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_has_one_rate_for_all_its_instances() {
    let limits = EventLogLimits { per_second_max: 3, ..EventLogLimits::default() };
    let bus = EventBus::new(BusSettings::default(), EventLog::new(limits));
    let (one, other) = (bus.source(id("shop")), bus.source(id("shop")));
    let refused = Err(EmitRefused::RateLimited(3));
    assert_eq!(emit(&one, "x"), Ok(1));
    let invalid = one.emit("Not A Type", "x", 0, &after(0));
    assert_eq!(invalid, Err(EmitRefused::InvalidType));
    assert_eq!(emit(&other, "x"), Ok(2));
    assert_eq!(emit(&one.clone(), "x"), Ok(3), "what was refused did not count");
    assert_eq!((emit(&one, "x"), emit(&other, "x")), (refused, refused));
    assert_eq!(emit(&bus.source(id("bank")), "x"), Ok(4), "another plugin has its own");
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert_eq!(emit(&one, "x"), refused);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(emit(&other, "x"), Ok(5));
}

#[tokio::test(start_paused = true)]
async fn sources_that_nobody_holds_are_forgotten() {
    let bus = bus();
    let kept = bus.source(id("kept"));
    (0..100).for_each(|n| drop(bus.source(id(&format!("s{n}")))));
    assert_eq!(bus.0.sources.len(), 1);
    drop(kept);
    assert_eq!(bus.0.sources.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_payloads_are_refused_before_anything_else_happens() {
    let bus = bus();
    let refused = emit(&bus.source(id("shop")), &"x".repeat(65_537));
    assert_eq!(refused, Err(EmitRefused::PayloadTooLarge(65_536)));
    assert_eq!(bus.counts().published, 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_at_the_end_of_too_many_hops_reaches_the_log_and_nobody() {
    let bus = bus();
    let (one, two) = (Scripted::new([]), Scripted::new([]));
    subscribe(&bus, "one", &one);
    subscribe(&bus, "two", &two);
    let source = bus.source(id("shop"));
    assert_eq!(source.emit("test.event", "last", 0, &after(16)), Ok(1));
    assert_eq!(source.emit("test.event", "loop", 0, &after(17)), Ok(2));
    assert_eq!(bus.log().read(0, 10).events.len(), 2);
    let letter = |name: &str| (name.to_owned(), "loop".to_owned(), "ipc/event-loop", 0);
    assert_eq!(letters(&bus), [letter("one"), letter("two")]);
    assert_eq!(bus.replay(&[1]), 1, "a person may insist");
    assert_eq!(bus.close(soon()).await, 0);
    assert_eq!((one.seen(), two.seen()), (vec!["last".into(), "loop".into()], vec!["last".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_answers_itself_comes_to_an_end() {
    struct Echo(crate::EventSource);
    #[async_trait]
    impl Subscriber for Echo {
        async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
            self.0.emit("test.event", "again", 0, &event.handler()).unwrap();
            Ok(())
        }
    }
    let bus = bus();
    let echo = Arc::new(Echo(bus.source(id("echo"))));
    bus.subscribe(id("echo"), vec!["test.*".to_owned()], echo);
    bus.publish(event("http", "first").caused_by(&Caller::new("req-9".into())));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let letter = bus.dead_letters(0, 9).letters.remove(0);
    assert_eq!(
        (letter.code, letter.event.hops, &*letter.event.request_id),
        ("ipc/event-loop", 17, "req-9")
    );
    assert_eq!((bus.counts().queued, bus.counts().subscribers[0].delivered), (0, 17));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_bounded_and_those_lost_are_counted() {
    let bus = bus_with(BusSettings { dead_letters_max: 2, ..BusSettings::default() });
    subscribe(&bus, "one", &Scripted::new([Answer::Failed; 5]));
    for published in publish_all(&bus, "http", ["1", "2", "3", "4", "5"]) {
        only(&published).await;
    }
    let counts = bus.counts();
    assert_eq!((counts.dead_letters, counts.dead_letters_dropped), (2, 3));
    assert_eq!((bus.dead_letters(0, 9).missed, bus.dead_letters(2, 9).missed), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn the_latest_that_left_are_remembered() {
    let bus = bus();
    let subscriber = Scripted::new([]);
    for n in 0..1_500 {
        let name = format!("s{n}");
        subscribe(&bus, &name, &subscriber);
        only(&bus.publish(event("http", "x"))).await;
        bus.unsubscribe(&id(&name));
    }
    let counts = bus.counts();
    assert_eq!(counts.subscribers.len(), 1_000);
    assert!(counts.subscribers.iter().all(|it| it.delivered == 1 && !it.subscribed));
    assert!(!counts.subscribers.iter().any(|it| it.name == id("s499")));
    assert!(counts.subscribers.iter().any(|it| it.name == id("s500")));
}

#[tokio::test(start_paused = true)]
async fn those_that_came_back_crowd_out_nobody_that_left() {
    let bus = bus();
    let subscriber = Scripted::new([]);
    for n in 0..1_500 {
        let name = format!("s{n}");
        subscribe(&bus, &name, &subscriber);
        bus.unsubscribe(&id(&name));
        subscribe(&bus, &name, &subscriber);
    }
    let names = [id("s1400"), id("s1401")];
    names.iter().for_each(|name| bus.unsubscribe(name));
    let counts = bus.counts();
    assert_eq!(counts.subscribers.len(), 1_500);
    let left = counts.subscribers.into_iter().filter(|it| !it.subscribed);
    assert_eq!(left.map(|it| it.name).collect::<Vec<_>>(), names);
}
