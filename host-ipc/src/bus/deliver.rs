//! The tasks that deliver.
//!
//! A task is started for a lane that has something and a turn, and goes on with whatever lane has the next
//! turn. Where there is nothing to deliver, there is no task. All decisions are the lanes' (`lanes`); here
//! is what takes time: the delivery itself, and the rest after one that failed.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{runtime::Handle, sync::watch, task::coop::consume_budget};

use super::{
    Retry, Shared, Subscriber, Undelivered, codes,
    inbox::{Delivery, Inbox, Next},
    lanes::Turn,
};
use crate::Event;

/// A lane that is delivered from, or rests. Dropped before its turn is settled, as happens when the runtime
/// goes down, it leaves the lane waiting for another turn.
struct Held {
    bus: Arc<Shared>,
    inbox: Arc<Inbox>,
    turn: Turn,
}

impl Drop for Held {
    fn drop(&mut self) {
        for ending in self.inbox.wake(&self.turn) {
            self.bus.record(&self.inbox, ending);
        }
    }
}

impl Shared {
    /// Starts a task for each turn of `inbox` that is free and has something to deliver.
    ///
    /// Outside of a runtime nothing is started; the next event that comes inside of one makes up for it.
    pub(super) fn start(self: &Arc<Self>, inbox: &Arc<Inbox>) {
        let Ok(runtime) = Handle::try_current() else { return };
        // A runtime that goes down drops what it is given, which frees the turn at once: without an end to
        // them, there would always be one more.
        for _ in 0..self.settings.sources_at_once.max(1) {
            let Some((held, delivery)) = self.next(inbox) else { return };
            runtime.spawn(work(held, delivery));
        }
    }

    fn next(self: &Arc<Self>, inbox: &Arc<Inbox>) -> Option<(Held, Job)> {
        let Delivery { turn, event, subscriber } = inbox.next()?;
        let held = Held { bus: self.clone(), inbox: inbox.clone(), turn };
        Some((held, Job { event, subscriber }))
    }
}

struct Job {
    event: Arc<Event>,
    subscriber: Arc<dyn Subscriber>,
}

/// Delivers until nothing is left that has a turn.
async fn work(mut held: Held, mut job: Job) {
    let mut stop = held.bus.stop.subscribe();
    loop {
        let result = tokio::select! {
            biased;
            result = job.deliver() => result,
            () = stopped(&mut stop) => return,
        };
        let (bus, inbox) = (held.bus.clone(), held.inbox.clone());
        match inbox.settle(&held.turn, result) {
            Next::Record(ending) => bus.record(&inbox, ending),
            Next::Rest { looks } => {
                let wait = bus.settings.backoff(looks, fastrand::u32(0..=1_000));
                tokio::spawn(rest(held, wait));
            }
            Next::Nothing => {}
        }
        match bus.next(&inbox) {
            Some(next) => (held, job) = next,
            None => return,
        }
        // A subscriber that never waits would never let others run.
        consume_budget().await;
    }
}

async fn rest(held: Held, wait: Duration) {
    let mut stop = held.bus.stop.subscribe();
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = stopped(&mut stop) => {}
    }
    let (bus, inbox) = (held.bus.clone(), held.inbox.clone());
    drop(held);
    bus.start(&inbox);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever waits here holds the bus, and with it the sender.
    _ = stop.wait_for(|stopped| *stopped).await;
}

impl Job {
    async fn deliver(&self) -> Result<(), Undelivered> {
        // A subscriber's own state is its own business after a panic; none of ours is in reach.
        let delivery = AssertUnwindSafe(async { self.subscriber.deliver(&self.event).await });
        delivery.catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let message = format!("the subscriber panicked: {}", text.unwrap_or("without words"));
            Err(Undelivered { code: codes::PANICKED, message, retry: Retry::Never })
        })
    }
}
