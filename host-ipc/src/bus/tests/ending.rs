//! Subscribers that leave, a bus that is closed, a runtime that goes down.

use super::*;
use crate::EmitRefused;

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_subscriber_that_leaves_is_dead_and_the_rest_is_handled() {
    let bus = bus();
    let subscriber = Scripted::slow(Duration::from_secs(1));
    subscribe(&bus, "one", &subscriber);
    let published = publish_all(&bus, "http", ["1", "2", "3"]);
    tokio::task::yield_now().await;
    bus.unsubscribe(&id("one"));
    bus.unsubscribe(&id("never-there"));
    assert_eq!(dead(&only(&published[1]).await), ("ipc/unsubscribed", 0));
    assert_eq!(only(&published[0]).await, Settled::Handled { attempts: 1 });
    let letter = |payload: &str| ("one".to_owned(), payload.to_owned(), "ipc/unsubscribed", 0);
    assert_eq!(letters(&bus), [letter("2"), letter("3")]);
    assert!(bus.publish(event("http", "4")).subscribers().is_empty());
    let counts = bus.counts().subscribers.remove(0);
    assert_eq!((counts.delivered, counts.dead, counts.queued), (1, 2, 0));
    assert!(!counts.subscribed);
}

#[tokio::test(start_paused = true)]
async fn what_fails_after_its_subscriber_left_is_not_repeated() {
    let bus = bus();
    let subscriber = Arc::new(Scripted {
        pace: Duration::from_secs(1),
        answers: Mutex::new([Answer::FailedForNow].into()),
        ..Scripted::default()
    });
    subscribe(&bus, "one", &subscriber);
    let published = bus.publish(event("http", "1"));
    tokio::task::yield_now().await;
    bus.unsubscribe(&id("one"));
    assert_eq!(dead(&only(&published).await), ("ipc/unsubscribed", 1));
}

#[tokio::test(start_paused = true)]
async fn what_rests_when_its_subscriber_leaves_is_dead_with_its_attempts() {
    let bus = bus();
    let subscriber = Scripted::new([Answer::FailedForNow; 2]);
    subscribe(&bus, "one", &subscriber);
    let published = bus.publish(event("http", "1"));
    tokio::time::sleep(Duration::from_millis(1)).await;
    bus.unsubscribe(&id("one"));
    assert_eq!(dead(&only(&published).await), ("ipc/unsubscribed", 1));
    // The old rest ends in the middle of the new life of the same name, and disturbs nothing.
    subscribe(&bus, "one", &subscriber);
    let published = publish_all(&bus, "http", ["2", "3"]);
    assert_eq!(only(&published[1]).await, Settled::Handled { attempts: 1 });
    assert_eq!(subscriber.seen(), ["1", "2", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_waits_for_what_is_still_under_way() {
    let bus = bus();
    let subscriber = Scripted::slow(Duration::from_secs(1));
    subscribe(&bus, "one", &subscriber);
    bus.publish(event("http", "1"));
    tokio::task::yield_now().await;
    bus.unsubscribe(&id("one"));
    subscribe(&bus, "one", &subscriber);
    only(&bus.publish(event("http", "2"))).await;
    assert_eq!(subscriber.now_and_most.lock().unwrap().1, 1, "one at a time of a source");
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_queued_and_what_rests() {
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([Answer::FailedForNow]));
    let published = publish_all(&bus, "http", ["1", "2"]);
    let start = Instant::now();
    assert_eq!(bus.close(soon()).await, 0);
    assert!(start.elapsed() < Duration::from_secs(1), "no longer than it takes");
    assert_eq!(only(&published[1]).await, Settled::Handled { attempts: 1 });
    assert!(letters(&bus).is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_everyone_gets_an_answer() {
    let bus = bus();
    let stuck = Scripted::new([Answer::Never]);
    subscribe(&bus, "stuck", &stuck);
    subscribe(&bus, "fails", &Scripted::new([Answer::FailedForNow; 100]));
    let published = publish_all(&bus, "http", ["1", "2"]);
    let waiting = tokio::spawn(async move { published[1].settled().await });
    let source = bus.source(id("shop"));
    let closing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.close(Instant::now() + Duration::from_millis(150)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let late = bus.publish(event("http", "late"));
    let refused = source.emit("test.event", "x", 0, &after(0));
    assert_eq!(refused, Err(EmitRefused::Closed));
    assert_eq!(bus.replay_all(), 0);
    for (_, settled) in late.settled().await {
        assert_eq!(dead(&settled), ("ipc/closed", 0));
    }
    assert_eq!(closing.await.unwrap(), 4);
    for (_, settled) in waiting.await.unwrap() {
        assert_eq!(dead(&settled), ("ipc/closed", 0));
    }
    let letters = letters(&bus);
    assert!(letters.contains(&("stuck".into(), "1".into(), "ipc/closed", 1)), "{letters:?}");
    assert!(letters.contains(&("fails".into(), "1".into(), "ipc/closed", 2)), "{letters:?}");
    tokio::task::yield_now().await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!((tasks, Arc::strong_count(&stuck)), (0, 1), "nothing of it is left");
}

#[tokio::test(start_paused = true)]
async fn a_closed_bus_takes_nothing_and_can_still_be_read() {
    let bus = bus();
    let subscriber = Scripted::new([Answer::Failed]);
    subscribe(&bus, "one", &subscriber);
    only(&bus.publish(event("http", "1"))).await;
    assert_eq!(bus.close(Instant::now()).await, 0);
    assert_eq!(bus.close(soon()).await, 0, "twice is no more than once");
    subscribe(&bus, "two", &subscriber);
    for (_, settled) in bus.publish(event("http", "2")).settled().await {
        assert_eq!(dead(&settled), ("ipc/closed", 0));
    }
    assert_eq!(bus.replay_all(), 0);
    assert_eq!(bus.source(id("shop")).emit("a", "", 0, &after(0)), Err(EmitRefused::Closed));
    assert_eq!(letters(&bus)[0], ("one".into(), "1".into(), "test/failed", 1));
    assert_eq!(subscriber.seen(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn who_stops_closing_leaves_a_bus_that_goes_on_with_what_it_has() {
    let bus = bus();
    let subscriber = Scripted::slow(Duration::from_secs(1));
    subscribe(&bus, "one", &subscriber);
    let published = publish_all(&bus, "http", ["1", "2"]);
    let given_up = tokio::time::timeout(Duration::from_millis(1), bus.close(soon())).await;
    assert!(given_up.is_err());
    assert_eq!(only(&published[1]).await, Settled::Handled { attempts: 1 });
}

#[test]
fn a_runtime_that_goes_down_takes_nothing_with_it() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let bus = bus();
    let subscriber = Scripted::new([Answer::Never, Answer::FailedForNow]);
    subscribe(&bus, "one", &subscriber);
    let before = bus.publish(event("nobody-runs-it", "0"));
    let first = runtime().unwrap();
    let published = first.block_on(async {
        let published = [publish_all(&bus, "a", ["a1", "a2"]), publish_all(&bus, "b", ["b1"])];
        tokio::time::sleep(Duration::from_millis(1)).await;
        published
    });
    drop(first);
    assert_eq!(subscriber.seen(), ["0", "a1", "b1"]);

    runtime().unwrap().block_on(async {
        only(&bus.publish(event("c", "c1"))).await;
        for published in published.iter().flatten().chain([&before]) {
            assert!(matches!(only(published).await, Settled::Handled { .. }));
        }
    });
    assert_eq!((bus.counts().queued, bus.counts().queued_bytes), (0, 0));
}

#[test]
fn who_subscribes_again_is_given_what_a_runtime_left_behind() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([]));
    let sources = ["a", "b", "c"];
    let published = sources.map(|source| bus.publish(event(source, "x")));
    let (stuck, settled) = runtime().block_on(async {
        let stuck = Scripted::new([Answer::Never; 3]);
        subscribe(&bus, "one", &stuck);
        tokio::task::yield_now().await;
        (stuck, published.each_ref().map(Published::so_far))
    });
    assert_eq!((stuck.seen().len(), settled[0][0].1.as_ref()), (3, None), "all at once");
    runtime().block_on(async {
        subscribe(&bus, "one", &Scripted::new([]));
        for published in &published {
            assert_eq!(only(published).await, Settled::Handled { attempts: 1 });
        }
    });
}

#[test]
fn what_was_under_way_to_one_who_left_is_dead_with_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([Answer::Never]));
    let published = runtime.block_on(async {
        let published = bus.publish(event("http", "1"));
        tokio::task::yield_now().await;
        bus.unsubscribe(&id("one"));
        published
    });
    assert_eq!(published.so_far(), [(id("one"), None)], "it may still be handled");
    drop(runtime);
    let settled = published.so_far().remove(0).1;
    assert_eq!(settled.as_ref().map(dead), Some(("ipc/unsubscribed", 0)));
    assert_eq!((bus.counts().queued, bus.counts().queued_bytes), (0, 0));
}

#[test]
fn a_bus_that_is_dropped_leaves_nobody_waiting() {
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([]));
    let published = bus.publish(event("http", "1")); // Outside of a runtime nothing delivers it.
    drop(bus);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(dead(&runtime.block_on(only(&published))), ("ipc/closed", 0));
}

/// In real time, on several threads: all that can be done to a bus, at once and at random.
#[test]
fn everyone_gets_an_answer_whatever_goes_on_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let bus = bus_with(BusSettings {
        backoff_min: Duration::from_millis(1),
        queue_events_max: 20,
        dead_letters_max: 50,
        ..BusSettings::default()
    });
    let work = |worker: u64| {
        let (bus, mut random) = (bus.clone(), fastrand::Rng::with_seed(worker));
        async move {
            let mut published = Vec::new();
            for _ in 0..500 {
                let name = id(&format!("s{}", random.u8(0..4)));
                let answers = [Answer::FailedForNow, Answer::Failed, Answer::Panic];
                match random.u8(0..20) {
                    0 => bus.unsubscribe(&name),
                    1..4 => subscribe(&bus, name.as_str(), &Scripted::new(answers)),
                    4 => _ = bus.replay_all(),
                    5 => _ = bus.counts(),
                    6 => tokio::task::yield_now().await,
                    7..10 => {
                        let source = bus.source(name);
                        _ = source.emit("test.event", "x", 0, &after(0));
                    }
                    _ => published.push(bus.publish(event(name.as_str(), "x"))),
                }
            }
            published
        }
    };
    runtime.block_on(async {
        let workers: Vec<_> = (0..8).map(|worker| tokio::spawn(work(worker))).collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        bus.close(Instant::now() + Duration::from_millis(20)).await;
        for worker in workers {
            for published in worker.await.unwrap() {
                let answers = published.settled_within(Duration::from_secs(60)).await;
                assert!(answers.iter().all(|(_, settled)| settled.is_some()), "{answers:?}");
            }
        }
    });
    assert_eq!((bus.counts().queued, bus.counts().queued_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_may_use_the_bus_when_it_is_dropped() {
    struct Nosy(EventBus);
    #[async_trait]
    impl Subscriber for Nosy {
        async fn deliver(&self, _: &Event) -> Result<(), Undelivered> {
            Ok(())
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.0.publish(event("http", "from a destructor"));
            self.0.source(id("shop")).emit("test.event", "x", 0, &after(0)).ok();
            self.0.unsubscribe(&id("one"));
            self.0.replay_all();
        }
    }
    let bus = bus();
    for _ in 0..2 {
        bus.subscribe(id("one"), vec!["test.*".to_owned()], Arc::new(Nosy(bus.clone())));
    }
    bus.unsubscribe(&id("one"));
    bus.subscribe(id("one"), vec!["test.*".to_owned()], Arc::new(Nosy(bus.clone())));
    bus.close(soon()).await;
}
