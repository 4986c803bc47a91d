//! In which order events come, and who waits for whom.

use super::*;

#[tokio::test(start_paused = true)]
async fn events_of_a_source_come_in_order_also_when_some_are_repeated() {
    use Answer::*;
    let bus = bus();
    let subscriber =
        Scripted::new([FailedForNow, FailedForNow, Handled, Failed, FailedForNow, Handled]);
    subscribe(&bus, "one", &subscriber);
    let published = publish_all(&bus, "http", ["1", "2", "3", "4"]);
    assert_eq!(only(&published[3]).await, Settled::Handled { attempts: 1 });
    assert_eq!(subscriber.seen(), ["1", "1", "1", "2", "3", "3", "4"]);
    assert_eq!(only(&published[0]).await, Settled::Handled { attempts: 3 });
    assert_eq!(dead(&only(&published[1]).await), ("test/failed", 1));
    assert_eq!(only(&published[2]).await, Settled::Handled { attempts: 2 });
}

#[tokio::test(start_paused = true)]
async fn a_repeat_holds_up_its_own_source_only() {
    let settings = BusSettings { sources_at_once: 1, ..BusSettings::default() };
    let bus = bus_with(settings);
    let subscriber = Scripted::new([Answer::FailedForNow]);
    subscribe(&bus, "one", &subscriber);
    publish_all(&bus, "a", ["a1", "a2"]);
    publish_all(&bus, "b", ["b1", "b2"]);
    assert_eq!(bus.close(soon()).await, 0);
    assert_eq!(subscriber.seen(), ["a1", "b1", "b2", "a1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_holds_up_no_other() {
    let bus = bus();
    let (slow, quick) = (Scripted::slow(Duration::from_secs(3_600)), Scripted::new([]));
    subscribe(&bus, "slow", &slow);
    subscribe(&bus, "quick", &quick);
    let published = publish_all(&bus, "http", ["1", "2", "3"]);
    let settled = published[2].settled_within(Duration::from_millis(10)).await;
    let handled = Some(Settled::Handled { attempts: 1 });
    assert_eq!(settled, [(id("quick"), handled), (id("slow"), None)]);
    assert_eq!(slow.seen(), ["1"]);
    assert_eq!(quick.seen(), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn so_many_sources_are_under_way_at_once_and_no_more() {
    for sources_at_once in [0, 1, 4] {
        let bus = bus_with(BusSettings { sources_at_once, ..BusSettings::default() });
        let subscriber = Scripted::slow(Duration::from_secs(1));
        subscribe(&bus, "one", &subscriber);
        for n in 0..10 {
            publish_all(&bus, &format!("source-{n}"), ["x", "x"]);
        }
        let start = Instant::now();
        assert_eq!(bus.close(start + Duration::from_secs(60)).await, 0);
        let at_once = sources_at_once.max(1);
        assert_eq!(subscriber.now_and_most.lock().unwrap().1, at_once);
        assert_eq!(start.elapsed().as_secs(), 20 / at_once as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn sources_take_turns() {
    let bus = bus_with(BusSettings { sources_at_once: 1, ..BusSettings::default() });
    let subscriber = Scripted::new([]);
    subscribe(&bus, "one", &subscriber);
    publish_all(&bus, "loud", ["l1", "l2", "l3", "l4"]);
    publish_all(&bus, "calm", ["c1", "c2"]);
    bus.close(soon()).await;
    assert_eq!(subscriber.seen(), ["l1", "c1", "l2", "c2", "l3", "l4"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_outside_does_not_get_into_the_lane_of_a_plugin() {
    let bus = bus();
    let subscriber = Scripted::new([Answer::Never]);
    subscribe(&bus, "one", &subscriber);
    publish_all(&bus, "shop", ["from outside", "held up"]);
    tokio::task::yield_now().await;
    bus.source(id("shop")).emit("test.event", "from the plugin", 0, &after(0)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(subscriber.seen(), ["from outside", "from the plugin"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_never_waits_lets_others_run() {
    /// Publishes the next event from within the last, for ever.
    struct Endless(EventBus);
    #[async_trait]
    impl Subscriber for Endless {
        async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
            self.0.publish(event.clone());
            Ok(())
        }
    }
    let bus = bus();
    bus.subscribe(id("one"), vec!["test.*".to_owned()], Arc::new(Endless(bus.clone())));
    bus.publish(event("http", "x"));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    bus.unsubscribe(&id("one"));
    let counts = bus.counts();
    assert!(counts.subscribers[0].delivered > 10, "{counts:?}");
}

/// Events of one plugin, emitted by several threads: whoever subscribes sees them as the log has them.
#[test]
fn queues_have_the_events_of_a_plugin_in_the_order_of_the_log() {
    #[derive(Default)]
    struct Sequences(Mutex<Vec<u64>>);
    #[async_trait]
    impl Subscriber for Sequences {
        async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
            self.0.lock().unwrap().push(event.sequence);
            Ok(())
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let bus = bus();
    let subscriber = Arc::new(Sequences::default());
    bus.subscribe(id("one"), vec!["test.*".to_owned()], subscriber.clone());
    let source = bus.source(id("shop"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _inside = runtime.enter();
                for _ in 0..100 {
                    source.emit("test.event", "x", 0, &after(0)).unwrap();
                }
            });
        }
    });
    runtime.block_on(bus.close(Instant::now() + Duration::from_secs(60)));
    assert_eq!(*subscriber.0.lock().unwrap(), (1..=400).collect::<Vec<u64>>());
}
