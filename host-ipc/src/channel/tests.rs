//! Each request has one answer, whatever happens in which order.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use plugin_contract::{Address, Caller, Explain, PluginId};
use proptest::prelude::*;

use super::{Answer, ChannelCounts, ChannelSettings, Delivery, Exchange, Message, MessageError};

fn exchange() -> Exchange {
    Exchange::new(ChannelSettings::default())
}

fn address(name: &str) -> Address {
    name.parse().unwrap()
}

fn to(target: &str) -> Message {
    Message::new(address(target), "test", b"hello")
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, MessageError>) -> &'static str {
    result.unwrap_err().code()
}

/// Whether `future` is done now; polled once.
fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn requests_are_answered_by_whoever_was_asked() {
    let exchange = exchange();
    let mut inbox = exchange.open(address("echo")).unwrap();
    tokio::spawn(async move {
        while let Some(delivery) = inbox.next().await {
            let answer = match delivery.message.message_type.as_str() {
                "fail" => Err("no".to_owned()),
                _ => Ok([delivery.message.payload.as_slice(), b"!"].concat()),
            };
            delivery.answer(answer);
        }
    });
    let sender = exchange.sender(address("asker"));
    let asks = (0..100_u8).map(|n| {
        let message = Message::new(address("echo"), "test", [n]);
        sender.request(&CALLER, message, None)
    });
    for (n, answer) in futures::future::join_all(asks).await.into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!((answer.payload, answer.success), (vec![n as u8, b'!'], true));
    }
    let refused = Message::new(address("echo"), "fail", []);
    let answer = sender.request(&CALLER, refused, None).await.unwrap();
    assert_eq!((answer.payload.as_slice(), answer.success), (b"no".as_slice(), false));
    let counts = ChannelCounts { answered: 101, ..ChannelCounts::default() };
    assert_eq!(exchange.counts(), counts);
}

static CALLER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::default);

#[tokio::test]
async fn who_cannot_be_written_to_is_told_apart() {
    let exchange = exchange();
    let sender = exchange.sender(address("a"));
    assert_eq!(code(sender.send(&CALLER, to("b")).await), "ipc/message-unknown-target");
    let inbox = exchange.open(address("b")).unwrap();
    assert_eq!(exchange.open(address("b")).map(drop).unwrap_err().0, address("b"));
    assert!(exchange.open(address("@b")).is_ok(), "the host's own is another");
    assert!(sender.send(&CALLER, to("b")).await.is_ok());
    let large = Message::new(address("b"), "test", vec![0; (1 << 20) + 1]);
    assert_eq!(code(sender.send(&CALLER, large).await), "ipc/message-too-large");
    let fits = Message::new(address("b"), "test", vec![0; 1 << 20]);
    assert!(sender.send(&CALLER, fits).await.is_ok());
    drop(inbox);
    assert_eq!(code(sender.send(&CALLER, to("b")).await), "ipc/message-unknown-target");
    assert!(exchange.open(address("b")).is_ok(), "the name is free again");
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_makes_senders_wait_and_the_oldest_goes_first() {
    let settings = ChannelSettings { inbox_bytes_max: 8 << 10, ..ChannelSettings::default() };
    let exchange = Exchange::new(settings);
    let mut inbox = exchange.open(address("slow")).unwrap();
    let sender = exchange.sender(address("a"));
    for _ in 0..2 {
        sender.send(&CALLER, to("slow")).await.unwrap();
    }
    assert_eq!(code(sender.send(&CALLER, to("slow")).await), "ipc/message-queue-full");
    let mut waiting = Box::pin(sender.send(&CALLER, to("slow")));
    assert!(poll(&mut waiting).is_pending());
    // Taken out, it still takes its room; worked on, no more.
    let first = inbox.next().await.unwrap();
    assert!(poll(&mut waiting).is_pending());
    drop(first);
    waiting.await.unwrap();
    let asked = sender.request(&CALLER, to("slow"), Some(Duration::from_secs(5)));
    assert_eq!(code(asked.await), "ipc/message-queue-full");
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_timeout_or_the_deadline_of_its_caller() {
    let exchange = exchange();
    let mut inbox = exchange.open(address("b")).unwrap();
    let sender = exchange.sender(address("a"));
    let slow = sender.request(&CALLER, to("b"), Some(Duration::from_millis(70)));
    assert_eq!(slow.await, Err(MessageError::Timeout(70)));
    let now = tokio::time::Instant::now().into_std();
    let hurried = CALLER.clone().until(now + Duration::from_millis(30));
    let asked = sender.request(&hurried, to("b"), Some(Duration::from_millis(70)));
    assert_eq!(asked.await, Err(MessageError::Timeout(30)));
    // The receiver is told until when it matters, and may answer in vain.
    let late = inbox.next().await.unwrap();
    assert_eq!(late.caller.deadline, Some(now));
    late.answer(Ok(vec![]));
    assert_eq!(exchange.counts().pending, 0);
}

#[tokio::test]
async fn a_dropped_message_and_a_dropped_inbox_answer_too() {
    let exchange = exchange();
    let sender = exchange.sender(address("a"));
    let mut inbox = exchange.open(address("b")).unwrap();
    let mut asked = Box::pin(sender.request(&CALLER, to("b"), None));
    assert!(poll(&mut asked).is_pending());
    drop(inbox.next().await);
    assert_eq!(code(asked.await), "ipc/message-failed");
    let mut asked = Box::pin(sender.request(&CALLER, to("b"), None));
    assert!(poll(&mut asked).is_pending());
    drop(inbox);
    assert_eq!(code(asked.await), "ipc/message-unknown-target");
}

#[tokio::test]
async fn an_answer_may_come_later_from_whoever_was_asked_and_nobody_else() {
    let exchange = exchange();
    let mut inbox = exchange.open(address("b")).unwrap();
    let sender = exchange.sender(address("a"));
    let mut asked = Box::pin(sender.request(&CALLER, to("b"), None));
    assert!(poll(&mut asked).is_pending());
    let delivery = inbox.next().await.unwrap();
    let id = delivery.request_id().unwrap();
    delivery.answer_later();
    let reply = |to: &str, id: &str| Message { reply_to: Some(id.to_owned()), ..self::to(to) };
    let forged = exchange.sender(address("c")).send(&CALLER, reply("a", &id)).await;
    assert_eq!(code(forged), "ipc/message-failed");
    let b = exchange.sender(address("b"));
    assert_eq!(code(b.send(&CALLER, reply("c", &id)).await), "ipc/message-failed");
    assert_eq!(code(b.send(&CALLER, reply("a", "request-99")).await), "ipc/message-failed");
    assert!(poll(&mut asked).is_pending());
    b.send(&CALLER, reply("a", &id)).await.unwrap();
    let answer = asked.await.unwrap();
    let expected = Answer { request_id: id.clone(), payload: b"hello".to_vec(), success: true };
    assert_eq!(answer, expected);
    assert_eq!(code(b.send(&CALLER, reply("a", &id)).await), "ipc/message-failed", "a second time");
}

#[tokio::test]
async fn plugins_that_wait_for_each_other_are_told() {
    let exchange = exchange();
    let mut inbox = exchange.open(address("b")).unwrap();
    let _a = exchange.open(address("a")).unwrap();
    let sender = exchange.sender(address("a"));
    let mut asked = Box::pin(sender.request(&CALLER, to("b"), None));
    assert!(poll(&mut asked).is_pending());
    let delivery = inbox.next().await.unwrap();
    let back = exchange.sender(address("b"));
    let circle = back.request(&delivery.caller, to("a"), None).await;
    assert_eq!(circle, Err(MessageError::Cyclic("a".to_owned())));
    assert!(back.send(&delivery.caller, to("a")).await.is_ok(), "nobody waits for that");
    assert_eq!(code(sender.request(&CALLER, to("a"), None).await), "ipc/message-cyclic");
}

#[tokio::test]
async fn plugins_cannot_write_to_each_other_for_ever() {
    let exchange = exchange();
    let mut inboxes = ["a", "b"].map(|name| exchange.open(address(name)).unwrap());
    let (mut caller, mut messages) = (Caller::default(), 0);
    loop {
        let (from, to) = if messages % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let sent = exchange.sender(address(from)).send(&caller, self::to(to)).await;
        let Ok(()) = sent else { break assert_eq!(code(sent), "ipc/message-failed") };
        caller = inboxes[1 - messages % 2].next().await.unwrap().caller.clone();
        messages += 1;
    }
    assert_eq!(messages, 16);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_sends_so_much_in_a_second_and_the_host_as_much_as_it_likes() {
    let settings = ChannelSettings { per_second_max: 2, ..ChannelSettings::default() };
    let exchange = Exchange::new(settings);
    let _inbox = exchange.open(address("b")).unwrap();
    let plugin = exchange.sender(address("a"));
    // All instances of a plugin share one.
    let (one, other) = (plugin.clone(), plugin);
    assert!(one.send(&CALLER, to("b")).await.is_ok());
    assert!(other.send(&CALLER, to("b")).await.is_ok());
    assert_eq!(code(one.send(&CALLER, to("b")).await), "ipc/message-rate-limited");
    assert_eq!(code(other.request(&CALLER, to("b"), None).await), "ipc/message-rate-limited");
    let host = exchange.sender(address("@a"));
    for _ in 0..5 {
        assert!(host.send(&CALLER, to("b")).await.is_ok());
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(one.send(&CALLER, to("b")).await.is_ok());
}

#[tokio::test]
async fn closing_answers_everyone() {
    let settings = ChannelSettings { inbox_bytes_max: 4 << 10, ..ChannelSettings::default() };
    let exchange = Exchange::new(settings);
    let mut inbox = exchange.open(address("b")).unwrap();
    let sender = exchange.sender(address("a"));
    let mut asked = Box::pin(sender.request(&CALLER, to("b"), None));
    let mut waiting = Box::pin(sender.send(&CALLER, to("b")));
    assert!(poll(&mut asked).is_pending() && poll(&mut waiting).is_pending());
    exchange.close();
    assert_eq!((code(asked.await), code(waiting.await)), (CLOSED, CLOSED));
    assert_eq!(code(sender.send(&CALLER, to("b")).await), CLOSED);
    assert!(inbox.next().await.is_some(), "what was there can still be taken");
    assert!(inbox.next().await.is_none());
    assert!(exchange.open(address("c")).unwrap().next().await.is_none());
}

const CLOSED: &str = "ipc/message-closed";

#[tokio::test]
async fn requests_are_bounded_in_number() {
    let exchange = Exchange::new(ChannelSettings { pending_max: 1, ..ChannelSettings::default() });
    let _inbox = exchange.open(address("b")).unwrap();
    let sender = exchange.sender(address("a"));
    let mut asked = Box::pin(sender.request(&CALLER, to("b"), None));
    assert!(poll(&mut asked).is_pending());
    assert_eq!(code(sender.request(&CALLER, to("b"), None).await), "ipc/message-queue-full");
    drop(asked);
    let mut asked = Box::pin(sender.request(&CALLER, to("b"), None));
    assert!(poll(&mut asked).is_pending(), "one that was given up makes room");
}

#[test]
fn the_chain_of_callers_goes_along() {
    let caller = Caller::new("r-1".into());
    let exchange = exchange();
    let mut inbox = exchange.open(address("b")).unwrap();
    let sender = exchange.sender(address("a"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut asked = Box::pin(sender.request(&caller, to("b"), None));
        assert!(poll(&mut asked).is_pending());
        let delivery = inbox.next().await.unwrap();
        let via: Vec<_> = delivery.caller.via().map(PluginId::as_str).collect();
        assert_eq!((&*delivery.caller.request_id, via.as_slice()), ("r-1", ["a"].as_slice()));
        assert!(delivery.caller.deadline.unwrap() > Instant::now());
    });
}

/// One thing that may happen next. Numbers choose among those that are there.
#[derive(Debug, Clone)]
enum Step {
    Ask,
    Poll(usize),
    GiveUp(usize),
    Take,
    Answer(usize),
    DropDelivery(usize),
    Leave(usize),
    ReplyLate(usize),
    Wait(u64),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Ask),
        6 => (0..100_usize).prop_map(Step::Poll),
        1 => (0..100_usize).prop_map(Step::GiveUp),
        6 => Just(Step::Take),
        4 => (0..100_usize).prop_map(Step::Answer),
        1 => (0..100_usize).prop_map(Step::DropDelivery),
        2 => (0..100_usize).prop_map(Step::Leave),
        2 => (0..100_usize).prop_map(Step::ReplyLate),
        2 => (1..60_u64).prop_map(Step::Wait),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..120)
}

type Asked = Pin<Box<dyn Future<Output = Result<Answer, MessageError>>>>;

/// A request and what it ended with.
struct Request {
    number: u8,
    future: Option<Asked>,
    started: bool,
    outcome: Option<Result<Answer, MessageError>>,
}

impl Request {
    fn poll(&mut self) {
        let Some(future) = &mut self.future else { return };
        self.started = true;
        if let Poll::Ready(outcome) = poll(future) {
            assert!(self.outcome.replace(outcome).is_none(), "answered twice");
            self.future = None;
        }
    }
}

fn pick<T>(from: &mut Vec<T>, at: usize) -> Option<T> {
    let len = from.len();
    (len > 0).then(|| from.swap_remove(at % len))
}

async fn play(steps: Vec<Step>) {
    let settings = ChannelSettings { inbox_bytes_max: 12 << 10, ..ChannelSettings::default() };
    let exchange = Exchange::new(settings);
    let mut inbox = exchange.open(address("b")).unwrap();
    let (asker, asked) = (exchange.sender(address("a")), exchange.sender(address("b")));
    let mut requests: Vec<Request> = Vec::new();
    let mut taken: Vec<Delivery> = Vec::new();
    let mut left: Vec<(u8, String)> = Vec::new();
    for step in steps {
        match step {
            Step::Ask if requests.len() < 200 => {
                let number = requests.len() as u8;
                let asker = asker.clone();
                let future: Asked = Box::pin(async move {
                    let message = Message::new(address("b"), "test", [number]);
                    asker.request(&CALLER, message, Some(Duration::from_millis(100))).await
                });
                let future = Some(future);
                requests.push(Request { number, future, started: false, outcome: None });
            }
            Step::Ask => {}
            Step::Poll(at) if !requests.is_empty() => {
                let len = requests.len();
                requests[at % len].poll();
            }
            Step::GiveUp(at) if !requests.is_empty() => {
                let len = requests.len();
                requests[at % len].future = None;
            }
            Step::Poll(_) | Step::GiveUp(_) => {}
            Step::Take => {
                let mut next = Box::pin(inbox.next());
                if let Poll::Ready(Some(delivery)) = poll(&mut next) {
                    drop(next);
                    taken.push(delivery);
                }
            }
            Step::Answer(at) => {
                if let Some(delivery) = pick(&mut taken, at) {
                    let number = delivery.message.payload[0];
                    delivery.answer(Ok(vec![number]));
                }
            }
            Step::DropDelivery(at) => drop(pick(&mut taken, at)),
            Step::Leave(at) => {
                if let Some(delivery) = pick(&mut taken, at) {
                    left.push((delivery.message.payload[0], delivery.request_id().unwrap()));
                    delivery.answer_later();
                }
            }
            Step::ReplyLate(at) => {
                if let Some((number, id)) = pick(&mut left, at) {
                    let mut reply = Message::new(address("a"), "test", [number]);
                    reply.reply_to = Some(id);
                    // Whether anyone still waits is as it is.
                    let _ = asked.send(&CALLER, reply).await;
                }
            }
            Step::Wait(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
            Step::Close => exchange.close(),
        }
    }
    drop((taken, left));
    requests.iter_mut().for_each(Request::poll);
    tokio::time::advance(Duration::from_secs(1)).await;
    for request in &mut requests {
        request.poll();
        assert!(request.future.is_none(), "request {} has no answer", request.number);
        if let Some(Ok(answer)) = &request.outcome {
            assert_eq!(answer.payload, [request.number], "another's answer");
        }
    }
    let started = requests.iter().filter(|request| request.started).count() as u64;
    let answered = requests.iter().filter(|it| matches!(it.outcome, Some(Ok(_)))).count() as u64;
    let counts = exchange.counts();
    assert_eq!((counts.pending, counts.answered), (0, answered));
    assert!(counts.answered + counts.failed >= started);
    // No room was lost: as many messages fit as fitted at first.
    if !exchange.inner.ledger.is_closed() {
        drop(inbox);
        let _inbox = exchange.open(address("b")).unwrap();
        for _ in 0..3 {
            asker.send(&CALLER, to("b")).await.unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn each_request_has_one_answer_in_any_interleaving(steps in steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(play(steps));
    }
}

/// On threads: senders that wait, give up and run out of time, receivers that answer, refuse, forget and take their
/// time, and an end in the middle of it. Each request ends once, and nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_request_ends_once_whoever_runs_beside_it() {
    const ASKERS: u64 = 8;
    const REQUESTS: u64 = 400;
    let exchange = exchange();
    let receivers: Vec<_> = (0..2)
        .map(|at| {
            let mut inbox = exchange.open(address(&format!("@receiver-{at}"))).unwrap();
            tokio::spawn(async move {
                while let Some(delivery) = inbox.next().await {
                    let echo = delivery.message.payload.clone();
                    match echo[0] % 4 {
                        0 => delivery.answer(Ok(echo)),
                        1 => delivery.answer(Err("no".to_owned())),
                        2 => drop(delivery),
                        _ => drop(tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(2)).await;
                            delivery.answer(Ok(echo));
                        })),
                    }
                }
            })
        })
        .collect();
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let askers: Vec<_> = (0..ASKERS)
        .map(|asker| {
            let (exchange, ended) = (exchange.clone(), ended.clone());
            tokio::spawn(async move {
                let sender = exchange.sender(address(&format!("@asker-{asker}")));
                for n in 0..REQUESTS {
                    let target = address(&format!("@receiver-{}", n % 2));
                    let payload = [(n % 251) as u8, asker as u8];
                    let message = Message::new(target, "test", payload);
                    let patience = Duration::from_millis(1 + n % 3);
                    let request = sender.request(&CALLER, message, Some(patience));
                    // Some are given up from outside, at about the moment of the answer.
                    let answer = match n % 5 {
                        0 => tokio::time::timeout(patience, request).await.ok(),
                        _ => Some(request.await),
                    };
                    if let Some(Ok(Answer { payload: echo, success: true, .. })) = answer {
                        assert_eq!(echo, payload, "somebody else's answer");
                    }
                    ended.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            })
        })
        .collect();
    let begun = Instant::now();
    while ended.load(std::sync::atomic::Ordering::Relaxed) < ASKERS * REQUESTS * 3 / 4 {
        assert!(begun.elapsed() < Duration::from_secs(120), "someone waits for ever");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    exchange.close();
    for task in askers.into_iter().chain(receivers) {
        task.await.unwrap();
    }
    let ChannelCounts { sent, answered, failed, pending } = exchange.counts();
    assert_eq!((sent, pending), (0, 0));
    assert_eq!(answered + failed, ASKERS * REQUESTS, "{answered} answered");
}
