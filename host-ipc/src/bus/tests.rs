//! What a bus does as a whole. Time is paused: waits take none, and come in order.

mod bounds;
mod course;
mod ending;
mod lanes;
mod order;
mod retry;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use plugin_contract::{Caller, PluginId};
use tokio::time::Instant;

use super::{BusSettings, EventBus, Published, Retry, Settled, Subscriber, Undelivered};
use crate::{Event, EventLog, EventLogLimits, Origin};

/// How a subscriber takes one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Handled,
    FailedForNow,
    Away,
    Failed,
    Panic,
    Never,
}

/// Remembers what it was given, and answers as it was told to.
#[derive(Default)]
struct Scripted {
    /// The payloads.
    seen: Mutex<Vec<String>>,
    /// The answers to come; handled, after the last.
    answers: Mutex<VecDeque<Answer>>,
    /// How long each delivery takes.
    pace: Duration,
    /// Deliveries under way, and the most of them at one time.
    now_and_most: Mutex<(usize, usize)>,
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Self { answers, ..Self::default() })
    }

    fn slow(pace: Duration) -> Arc<Self> {
        Arc::new(Self { pace, ..Self::default() })
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait]
impl Subscriber for Scripted {
    async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
        self.seen.lock().unwrap().push(event.payload.clone());
        {
            let (now, most) = &mut *self.now_and_most.lock().unwrap();
            *now += 1;
            *most = (*most).max(*now);
        }
        if self.pace > Duration::ZERO {
            tokio::time::sleep(self.pace).await;
        }
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Handled);
        let failed = |retry| Undelivered { code: "test/failed", message: "no\n".into(), retry };
        let result = match answer {
            Answer::Handled => Ok(()),
            Answer::FailedForNow => Err(failed(Retry::Later)),
            Answer::Away => Err(failed(Retry::WhenBack)),
            Answer::Failed => Err(failed(Retry::Never)),
            Answer::Panic => panic!("too much"),
            Answer::Never => std::future::pending().await,
        };
        self.now_and_most.lock().unwrap().0 -= 1;
        result
    }
}

/// Whoever works because of so many events.
fn after(hops: u32) -> Caller {
    let mut caller = Caller::default();
    caller.hops = hops;
    caller
}

fn bus() -> EventBus {
    bus_with(BusSettings::default())
}

fn bus_with(settings: BusSettings) -> EventBus {
    EventBus::new(settings, EventLog::new(EventLogLimits::default()))
}

fn id(name: &str) -> PluginId {
    name.parse().unwrap()
}

/// Subscribes to everything that these tests publish.
fn subscribe(bus: &EventBus, name: &str, subscriber: &Arc<Scripted>) {
    bus.subscribe(id(name), vec!["test.*".to_owned()], subscriber.clone());
}

fn event(source: &str, payload: &str) -> Event {
    Event::new(Origin::outside(source).unwrap(), "test.event", payload, 0).unwrap()
}

/// Publishes events of one source, one for each payload.
fn publish_all<'a>(
    bus: &EventBus,
    source: &str,
    payloads: impl IntoIterator<Item = &'a str>,
) -> Vec<Published> {
    payloads.into_iter().map(|payload| bus.publish(event(source, payload))).collect()
}

fn dead(settled: &Settled) -> (&'static str, u32) {
    match settled {
        Settled::Dead { code, attempts, .. } => (code, *attempts),
        Settled::Handled { .. } => panic!("it was handled"),
    }
}

/// The only answer there is.
async fn only(published: &Published) -> Settled {
    let mut settled = published.settled().await;
    assert_eq!(settled.len(), 1, "{settled:?}");
    settled.remove(0).1
}

/// Subscriber, payload, code and attempts of each dead letter.
fn letters(bus: &EventBus) -> Vec<(String, String, &'static str, u32)> {
    let page = bus.dead_letters(0, usize::MAX);
    let letters = page.letters.into_iter();
    letters
        .map(|it| (it.subscriber.to_string(), it.event.payload.clone(), it.code, it.attempts))
        .collect()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_exact_or_a_prefix() {
    let bus = bus();
    let handled = Settled::Handled { attempts: 1 };
    for (name, pattern) in [("exact", "log.line"), ("prefix", "log.*"), ("other", "log.lines")] {
        bus.subscribe(id(name), vec![pattern.to_owned()], Scripted::new([]));
    }
    let publish = |event_type: &str| {
        bus.publish(Event::new(Origin::outside("http").unwrap(), event_type, "", 0).unwrap())
    };
    let published = publish("log.line");
    assert_eq!(published.subscribers(), [id("exact"), id("prefix")]);
    let settled = published.settled().await;
    assert_eq!(settled, [(id("exact"), handled.clone()), (id("prefix"), handled)]);
    assert_eq!(publish("log.a.b").subscribers(), [id("prefix")]);
    let nobody = publish("log");
    assert!(nobody.subscribers().is_empty() && nobody.settled().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_plugin_emits_is_logged_and_delivered_with_its_request() {
    struct Checks;
    #[async_trait]
    impl Subscriber for Checks {
        async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
            let Event { sequence, source, request_id, trace, hops, timestamp_ms, .. } = event;
            assert_eq!((*sequence, *hops, *timestamp_ms), (1, 3, 7));
            assert_eq!((source.plugin(), &**request_id), (Some(&id("shop")), "req-1"));
            assert_eq!(trace.as_deref(), Some("00-aa-bb-01"));
            Ok(())
        }
    }
    let bus = bus();
    bus.subscribe(id("one"), vec!["order.*".to_owned()], Arc::new(Checks));
    let source = bus.source(id("shop"));
    let mut caller = Caller::new("req-1".into());
    (caller.trace, caller.hops) = (Some("00-aa-bb-01".into()), 3);
    assert_eq!(source.emit("order.placed", "{}", 7, &caller), Ok(1));
    assert_eq!(bus.close(soon()).await, 0);
    assert_eq!(bus.counts().subscribers[0].delivered, 1);
    assert_eq!(bus.log().read(0, 10).events.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn subscribing_again_replaces_all_but_the_queue() {
    let bus = bus();
    let (before, after) = (Scripted::slow(Duration::from_secs(1)), Scripted::new([]));
    subscribe(&bus, "one", &before);
    let published = publish_all(&bus, "http", ["1", "2", "3"]);
    tokio::task::yield_now().await;
    bus.subscribe(id("one"), vec!["else".to_owned()], after.clone());
    for published in &published {
        assert_eq!(only(published).await, Settled::Handled { attempts: 1 });
    }
    assert_eq!((before.seen(), after.seen()), (vec!["1".to_owned()], vec!["2".into(), "3".into()]));
    assert!(bus.publish(event("http", "4")).subscribers().is_empty(), "the old patterns are gone");
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_changes_nothing_and_may_wait_again() {
    let bus = bus();
    let subscriber = Scripted::slow(Duration::from_secs(1));
    subscribe(&bus, "one", &subscriber);
    let published = bus.publish(event("http", "1"));
    drop(bus.publish(event("http", "2")));

    let pending = published.settled_within(Duration::from_millis(500)).await;
    assert_eq!(pending, [(id("one"), None)]);
    let given_up = tokio::time::timeout(Duration::from_millis(1), published.settled()).await;
    assert!(given_up.is_err());
    assert_eq!(only(&published).await, Settled::Handled { attempts: 1 });
    assert_eq!(only(&published).await, Settled::Handled { attempts: 1 }, "as often as one asks");
    assert_eq!(bus.close(soon()).await, 0);
    assert_eq!(subscriber.seen(), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn subscribers_at_rest_cost_no_tasks() {
    let bus = bus();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let subscriber = Scripted::new([]);
    (0..10_000).for_each(|n| subscribe(&bus, &format!("s{n}"), &subscriber));
    assert_eq!(tasks(), before);
    let published = bus.publish(event("http", "1"));
    assert_eq!(published.settled().await.len(), 10_000);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before);
    assert_eq!((bus.counts().queued, bus.counts().queued_bytes), (0, 0));
}
