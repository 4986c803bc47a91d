//! A whole bus, with any number of things going on.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Takes its time, fails as it was told to, and watches over what it is given.
struct Watchful {
    /// For each payload, the answers to come.
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    pace: HashMap<String, Duration>,
    busy: Mutex<HashMap<String, String>>,
    /// Source and payload of each delivery.
    seen: Mutex<Vec<(String, String)>>,
    most: usize,
    /// What must not have happened. A panic would be taken for the subscriber's.
    wrong: Mutex<Vec<&'static str>>,
}

#[async_trait]
impl Subscriber for Watchful {
    async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
        let (source, payload) = (event.source.to_string(), event.payload.clone());
        self.seen.lock().unwrap().push((source.clone(), payload.clone()));
        {
            let mut busy = self.busy.lock().unwrap();
            if busy.insert(source.clone(), payload.clone()).is_some() {
                self.wrong.lock().unwrap().push("two of a source at the same time");
            }
            if busy.len() > self.most {
                self.wrong.lock().unwrap().push("more than so many sources at once");
            }
        }
        tokio::time::sleep(self.pace[&payload]).await;
        self.busy.lock().unwrap().remove(&source);
        let answer = self.answers.lock().unwrap().get_mut(&payload).and_then(VecDeque::pop_front);
        let failed = |retry| Undelivered { code: "test/failed", message: String::new(), retry };
        match answer {
            None | Some(Answer::Handled) => Ok(()),
            Some(Answer::FailedForNow) => Err(failed(Retry::Later)),
            Some(Answer::Panic) => panic!("as it was told to"),
            Some(_) => Err(failed(Retry::Never)),
        }
    }
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::FailedForNow),
        1 => Just(Answer::Failed),
        1 => Just(Answer::Panic),
    ]
}

/// When, from which source, how long it takes, and how it fails before it succeeds.
type Planned = (u64, usize, u64, Vec<Answer>);

fn planned() -> impl Strategy<Value = Planned> {
    (0..2_000_u64, 0..5_usize, 0..300_u64, prop::collection::vec(answer(), 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_event_is_settled_once_and_in_order(
        mut plan in prop::collection::vec(planned(), 0..40),
        sources_at_once in 1..4_usize,
        close_after in prop::option::of(0..4_000_u64),
    ) {
        plan.sort_by_key(|(at, ..)| *at);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(plan, sources_at_once, close_after));
    }
}

/// What these answers come to, of at most three.
fn expected(answers: &[Answer]) -> Settled {
    let last = answers.iter().take(3).position(|answer| *answer != Answer::FailedForNow);
    let attempts = last.unwrap_or(answers.len().min(2)) as u32 + 1;
    let (code, message) = match answers.get(attempts as usize - 1) {
        None => return Settled::Handled { attempts },
        Some(Answer::Panic) => {
            ("ipc/subscriber-panicked", "the subscriber panicked: as it was told to")
        }
        Some(_) => ("test/failed", ""),
    };
    Settled::Dead { code, message: message.to_owned(), attempts }
}

async fn play(plan: Vec<Planned>, sources_at_once: usize, close_after: Option<u64>) {
    let bus = bus_with(BusSettings { sources_at_once, attempts_max: 3, ..BusSettings::default() });
    let of = |n: usize| format!("event-{n}");
    let planned = || plan.iter().enumerate();
    let subscriber = Arc::new(Watchful {
        answers: Mutex::new(planned().map(|(n, it)| (of(n), it.3.clone().into())).collect()),
        pace: planned().map(|(n, it)| (of(n), Duration::from_millis(it.2))).collect(),
        busy: Mutex::default(),
        seen: Mutex::default(),
        most: sources_at_once,
        wrong: Mutex::default(),
    });
    bus.subscribe(id("one"), vec!["test.*".to_owned()], subscriber.clone());
    let start = Instant::now();
    let closing = close_after.map(|ms| {
        let bus = bus.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            bus.close(Instant::now() + Duration::from_millis(500)).await
        })
    });
    let mut published = Vec::new();
    for (n, (at, source, ..)) in planned() {
        tokio::time::sleep_until(start + Duration::from_millis(*at)).await;
        published.push(bus.publish(event(&format!("source-{source}"), &of(n))));
    }
    let (mut handled, mut dead) = (0, 0);
    for (published, (.., answers)) in published.iter().zip(&plan) {
        let settled = published.settled().await;
        if close_after.is_none() {
            assert_eq!(settled[0].1, expected(answers));
        }
        match settled.as_slice() {
            [(_, Settled::Handled { .. })] => handled += 1,
            [(_, Settled::Dead { .. })] => dead += 1,
            // Nobody subscribes to a bus that is closed.
            other => assert!(other.is_empty() && close_after.is_some(), "{other:?}"),
        }
    }
    let counts = bus.counts();
    let one = &counts.subscribers[0];
    assert_eq!((one.delivered, one.dead, one.queued), (handled, dead, 0));
    assert_eq!((counts.dead_letters, counts.queued_bytes), (dead, 0));
    if let Some(closing) = closing {
        closing.await.unwrap();
    } else {
        assert_eq!(handled + dead, plan.len() as u64);
    }
    assert!(subscriber.wrong.lock().unwrap().is_empty(), "{:?}", subscriber.wrong);
    // Repeats aside, each source's events were seen in the order that they were published.
    let mut last = HashMap::new();
    for (source, payload) in subscriber.seen.lock().unwrap().iter() {
        let n: usize = payload["event-".len()..].parse().unwrap();
        let before = last.insert(source.clone(), n).unwrap_or(0);
        assert!(before <= n, "{source}: {n} after {before}");
    }
}
