//! What fails, how often it is tried, and what becomes of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_fails_for_now_is_tried_so_often_and_then_dead() {
    let bus = bus();
    let subscriber = Scripted::new([Answer::FailedForNow; 5]);
    subscribe(&bus, "one", &subscriber);
    let start = Instant::now();
    let settled = only(&bus.publish(event("http", "1"))).await;
    assert_eq!(dead(&settled), ("test/failed", 5));
    // 100, 200, 400 and 800 ms, less a fifth at most; timers are good to a millisecond.
    let waited = start.elapsed().as_millis();
    assert!((1_200..=1_504).contains(&waited), "{waited}");
    assert_eq!(letters(&bus), [("one".into(), "1".into(), "test/failed", 5)]);
    let counts = bus.counts().subscribers.remove(0);
    assert_eq!((counts.delivered, counts.retried, counts.dead, counts.queued), (0, 4, 1, 0));
    assert_eq!(subscriber.seen().len(), 5);
    assert_eq!(only(&bus.publish(event("http", "2"))).await, Settled::Handled { attempts: 1 });
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_may_succeed() {
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([Answer::FailedForNow; 4]));
    let settled = only(&bus.publish(event("http", "1"))).await;
    assert_eq!(settled, Settled::Handled { attempts: 5 });
    assert!(letters(&bus).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_who_is_away_and_has_all_its_attempts_then() {
    let bus = bus();
    let answers = [[Answer::Away; 60].as_slice(), &[Answer::FailedForNow; 4], &[Answer::Away; 59]];
    let subscriber = Scripted::new(answers.concat());
    subscribe(&bus, "one", &subscriber);
    let published = publish_all(&bus, "http", ["1", "2"]);
    assert_eq!(only(&published[0]).await, Settled::Handled { attempts: 5 });
    assert_eq!(only(&published[1]).await, Settled::Handled { attempts: 1 });
    let seen = subscriber.seen();
    assert_eq!((seen.len(), seen.last().unwrap().as_str()), (125, "2"));
    assert_eq!(bus.counts().subscribers[0].retried, 4);
}

#[tokio::test(start_paused = true)]
async fn who_stays_away_is_not_waited_for_for_ever() {
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([Answer::Away; 162]));
    let start = Instant::now();
    // Those behind it have waited as long.
    for published in publish_all(&bus, "http", ["1", "2", "3"]) {
        assert_eq!(dead(&only(&published).await), ("test/failed", 0));
    }
    let minutes = start.elapsed().as_secs() / 60;
    assert!((10..=13).contains(&minutes), "{minutes}");
    assert_eq!(only(&bus.publish(event("http", "4"))).await, Settled::Handled { attempts: 1 });
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_tried_once() {
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([Answer::Failed]));
    let settled = only(&bus.publish(event("http", "1"))).await;
    assert_eq!(dead(&settled), ("test/failed", 1));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_may_try_less_than_once_tries_once() {
    let bus = bus_with(BusSettings { attempts_max: 0, ..BusSettings::default() });
    subscribe(&bus, "one", &Scripted::new([Answer::FailedForNow]));
    assert_eq!(dead(&only(&bus.publish(event("http", "1"))).await), ("test/failed", 1));
    assert_eq!(only(&bus.publish(event("http", "1"))).await, Settled::Handled { attempts: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_subscriber_is_a_dead_letter_and_the_next_event_comes() {
    let bus = bus();
    subscribe(&bus, "one", &Scripted::new([Answer::Panic]));
    let published = publish_all(&bus, "http", ["1", "2"]);
    let settled = only(&published[0]).await;
    assert_eq!(dead(&settled), ("ipc/subscriber-panicked", 1));
    assert!(matches!(settled, Settled::Dead { message, .. } if message.ends_with("too much")));
    assert_eq!(only(&published[1]).await, Settled::Handled { attempts: 1 });
    assert_eq!((bus.counts().queued, bus.counts().queued_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_subscriber_says_is_escaped_and_cut() {
    struct Talks;
    #[async_trait]
    impl Subscriber for Talks {
        async fn deliver(&self, _: &Event) -> Result<(), Undelivered> {
            let message = "\x1b[31m".to_owned() + &"x".repeat(1 << 20);
            Err(Undelivered { code: "test/failed", message, retry: Retry::Never })
        }
    }
    let bus = bus();
    bus.subscribe(id("one"), vec!["test.*".to_owned()], Arc::new(Talks));
    only(&bus.publish(event("http", "1"))).await;
    let letter = bus.dead_letters(0, 1).letters.remove(0);
    assert!(letter.message.starts_with(r"\u{1b}[31mx") && letter.message.ends_with("x..."));
    assert!(letter.message.len() < 1_040, "{}", letter.message.len());
    assert!(letter.when_ms > 1_600_000_000_000, "{}", letter.when_ms);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_can_be_replayed() {
    let bus = bus();
    let subscriber = Scripted::new([Answer::Failed, Answer::Failed, Answer::Failed]);
    subscribe(&bus, "one", &subscriber);
    for published in publish_all(&bus, "http", ["1", "2", "3"]) {
        only(&published).await;
    }
    assert_eq!(bus.replay(&[2, 2, 99]), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(subscriber.seen(), ["1", "2", "3", "2"]);
    let left: Vec<u64> = bus.dead_letters(0, 9).letters.iter().map(|letter| letter.id).collect();
    assert_eq!(left, [1, 3]);
    assert_eq!(bus.replay_all(), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(subscriber.seen()[4..], ["1", "3"]);
    assert!(letters(&bus).is_empty());
    assert_eq!((bus.counts().queued_bytes, bus.replay_all()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_fails_again_is_a_new_letter_with_all_its_attempts() {
    let bus = bus();
    let subscriber =
        Scripted::new([Answer::Failed; 1].into_iter().chain([Answer::FailedForNow; 5]));
    subscribe(&bus, "one", &subscriber);
    only(&bus.publish(event("http", "1"))).await;
    assert_eq!(bus.replay(&[1]), 1);
    assert_eq!(bus.close(soon()).await, 0);
    let letter = bus.dead_letters(0, 9).letters.remove(0);
    assert_eq!((letter.id, letter.attempts), (2, 5));
}

#[tokio::test(start_paused = true)]
async fn a_letter_stays_while_its_subscriber_is_gone_or_full() {
    let bus = bus_with(BusSettings { queue_events_max: 1, ..BusSettings::default() });
    let subscriber = Scripted::new([Answer::Failed, Answer::Never]);
    subscribe(&bus, "one", &subscriber);
    only(&bus.publish(event("http", "1"))).await;
    bus.publish(event("http", "2"));
    assert_eq!(bus.replay_all(), 0, "the other one takes the only place");
    assert_eq!(letters(&bus), [("one".into(), "1".into(), "test/failed", 1)]);

    let bus = self::bus();
    subscribe(&bus, "one", &Scripted::new([Answer::Failed]));
    only(&bus.publish(event("http", "1"))).await;
    bus.unsubscribe(&id("one"));
    assert_eq!(bus.replay_all(), 0, "it is gone");
    subscribe(&bus, "one", &Scripted::new([]));
    assert_eq!(bus.replay_all(), 1, "it is back");
}
