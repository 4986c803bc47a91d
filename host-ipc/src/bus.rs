//! Hands events to those who subscribe to them.
//!
//! An event goes into the queue of each subscriber whose patterns cover its type, and whoever sent it goes
//! on. Out of a queue, the events of one source are delivered one after the other, in the order that they
//! were published; different sources take turns, some at the same time. A delivery that fails for now is
//! repeated after a while, so many times; whatever is not handled in the end becomes a dead letter, to be
//! looked at and replayed. A slow or failing subscriber holds up nobody else.
//!
//! **Queues and dead letters live in memory: a restart of the host forgets what was not delivered.** Until
//! then each event is handled at least once, or is a dead letter; it may be handled more than once.
//!
//! ```text
//! EventSource::emit --> EventLog                            bounded, for readers
//!          EventBus::publish --> Inbox: one Lane a source   bounded, one for each subscriber
//!                                    --> Subscriber::deliver --> handled, or again, or a dead letter
//! ```
//!
//! Every bound is in [`BusSettings`]. Not here: who may emit or subscribe to what, how an event reaches a
//! guest and how long that may take (behind [`Subscriber`]), and what readers of the log see (`events`).

mod budget;
mod codes;
mod counts;
mod deliver;
mod directory;
mod inbox;
mod lanes;
mod letters;
mod publish;
mod published;
mod settings;
mod source;
mod subscriber;
mod subscriptions;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use plugin_contract::PluginId;
use tokio::{sync::watch, time::Instant};

use crate::{Event, EventLog};
use budget::Budget;
use directory::Directory;
use inbox::{Ending, Inbox};
use letters::DeadLetters;
use source::Sources;

pub use counts::{BusCounts, SubscriberCounts};
pub use letters::{DeadLetter, DeadLetterPage};
pub use published::{Published, Settled};
pub use settings::BusSettings;
pub use source::EventSource;
pub use subscriber::{Retry, Subscriber, Undelivered};

/// The way of events from those who emit them to those who subscribe to them. Cheap to clone.
///
/// Deliveries run on the Tokio runtime that is current where something is published; it needs a timer.
/// A subscriber is held until it is replaced, unsubscribes, or the bus is closed: one that holds the bus in
/// turn keeps both alive until then.
///
/// ```
/// use std::sync::Arc;
/// use host_ipc::{BusSettings, Event, EventBus, EventLog, Origin, Settled, Subscriber, Undelivered};
/// use plugin_contract::Caller;
///
/// struct Printer;
///
/// #[async_trait::async_trait]
/// impl Subscriber for Printer {
///     async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
///         println!("{}: {}", event.source, event.payload);
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let bus = EventBus::new(BusSettings::default(), EventLog::new(Default::default()));
/// bus.subscribe("printer".parse()?, vec!["order.*".to_owned()], Arc::new(Printer));
///
/// let source = bus.source("shop".parse()?);
/// source.emit("order.placed", "{}", 0, &Caller::new("req-1".into()))?;
///
/// let event = Event::new(Origin::outside("http")?, "order.paid", "{}", 0)?;
/// let settled = bus.publish(event).settled().await;
/// assert_eq!(settled, [("printer".parse()?, Settled::Handled { attempts: 1 })]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct EventBus(Arc<Shared>);

/// Locks are taken in this order: a source's, the directory's, the letters', an inbox's. None is held while
/// anyone else's code runs.
struct Shared {
    settings: BusSettings,
    log: EventLog,
    sources: Sources,
    directory: RwLock<Directory>,
    letters: Mutex<DeadLetters>,
    budget: Arc<Budget>,
    published: AtomicU64,
    /// Becomes `true` when deliveries under way are to be given up.
    stop: watch::Sender<bool>,
}

impl EventBus {
    /// A bus without subscribers. `log` keeps what plugins emit.
    pub fn new(settings: BusSettings, log: EventLog) -> Self {
        let letters = DeadLetters::new(settings.dead_letters_max, settings.dead_letters_bytes_max);
        Self(Arc::new(Shared {
            log,
            sources: Sources::default(),
            directory: RwLock::new(Directory::new()),
            letters: Mutex::new(letters),
            budget: Budget::new(settings.bytes_max),
            published: AtomicU64::new(0),
            stop: watch::Sender::new(false),
            settings,
        }))
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &BusSettings {
        &self.0.settings
    }

    /// What plugins emitted.
    pub fn log(&self) -> &EventLog {
        &self.0.log
    }

    /// Has `subscriber` handed all events that a pattern covers: exact, or `prefix.*`. A pattern that is
    /// neither covers nothing.
    ///
    /// Under a name that subscribes already, patterns and subscriber are replaced: what is queued goes to the
    /// new one, whether or not its patterns cover it. After [`close`](Self::close), nothing happens.
    pub fn subscribe(
        &self,
        name: PluginId,
        patterns: Vec<String>,
        subscriber: Arc<dyn Subscriber>,
    ) {
        let (inbox, _replaced) = {
            let mut directory = self.0.directory_mut();
            if !directory.open {
                return;
            }
            let inbox = directory.enter(name, patterns, self.settings());
            (inbox.clone(), inbox.open(subscriber))
        };
        // For what waits since a runtime went down.
        self.0.start(&inbox);
    }

    /// Ends a subscription. What is queued becomes dead letters with the code `ipc/unsubscribed`; what is
    /// being delivered goes on, and is not repeated if it fails.
    pub fn unsubscribe(&self, name: &PluginId) {
        let mut directory = self.0.directory_mut();
        let Some(inbox) = directory.leave(name) else { return };
        let (_subscriber, endings) = inbox.leave();
        drop(directory);
        endings.into_iter().for_each(|ending| self.0.record(&inbox, ending));
    }

    /// Hands an event to all who subscribe to its type, and does not wait for them. The log does not take
    /// it: for the events of plugins, see [`source`](Self::source).
    ///
    /// For a subscriber that it cannot be queued for, it is a dead letter at once, and
    /// [settled](Published::settled) as such.
    pub fn publish(&self, event: Event) -> Published {
        self.0.publish(event)
    }

    /// Where the events of `plugin` come in. There is one for each plugin, however often it is asked for.
    pub fn source(&self, plugin: PluginId) -> EventSource {
        self.0.sources.get(&self.0, plugin)
    }

    /// Some dead letters after the one numbered `after` (0: from the start): at most `count`, and at most
    /// 1 MiB of them, but always one if there is one.
    pub fn dead_letters(&self, after: u64, count: usize) -> DeadLetterPage {
        self.0.letters().read(after, count)
    }

    /// Takes these dead letters out of the list and queues them anew, each for its subscriber, behind what
    /// waits there. Attempts count from the start, and hops no longer matter. A letter stays in the list
    /// if its subscriber is gone or has no room. Returns how many were queued.
    pub fn replay(&self, ids: &[u64]) -> usize {
        self.0.replay(ids)
    }

    /// The same, of all dead letters there are now.
    pub fn replay_all(&self) -> usize {
        let ids = self.0.letters().ids();
        self.0.replay(&ids)
    }

    /// How busy it is.
    pub fn counts(&self) -> BusCounts {
        let directory = self.0.directory();
        let subscribers: Vec<_> = directory.inboxes().map(|inbox| inbox.counts()).collect();
        drop(directory);
        let letters = self.0.letters();
        BusCounts {
            published: self.0.published.load(Relaxed),
            queued: subscribers.iter().map(|subscriber| subscriber.queued).sum(),
            queued_bytes: self.0.budget.taken() as u64,
            dead_letters: letters.len() as u64,
            dead_letters_dropped: letters.dropped(),
            subscribers,
        }
    }

    /// Takes no further events and no subscribers. Waits until all that is queued is settled, or for
    /// `deadline`: then what is left becomes dead letters with the code `ipc/closed`, what is being delivered
    /// included, and that is dropped half-way. Returns how many there were.
    ///
    /// If the future is dropped, the bus takes no further events, and goes on with what it has.
    pub async fn close(&self, deadline: Instant) -> usize {
        self.0.directory_mut().open = false;
        _ = tokio::time::timeout_at(deadline, self.0.budget.emptied()).await;
        self.0.give_up()
    }
}

impl Shared {
    /// Makes dead letters of all that is queued, and lets go of all subscribers.
    fn give_up(&self) -> usize {
        let closed: Vec<_> = {
            let directory = self.directory();
            directory.inboxes().map(|inbox| (inbox.clone(), inbox.close())).collect()
        };
        // After the queues are empty: what is given up must not be started again.
        self.stop.send_replace(true);
        let mut left = 0;
        for (inbox, (_subscriber, endings)) in closed {
            left += endings.len();
            endings.into_iter().for_each(|ending| self.record(&inbox, ending));
        }
        left
    }

    /// Writes down what became of an event, tells whoever waits for it, and frees its room.
    fn record(&self, inbox: &Inbox, ending: Ending) {
        let Ending { event, settled, ticket, room } = ending;
        if let Settled::Dead { code, message, attempts } = &settled {
            tracing::debug!(subscriber = %inbox.name(), code, event_type = event.event_type,
                source = ?event.source, request_id = ?event.request_id, attempts,
                "an event became a dead letter");
            self.letters().push(DeadLetter {
                id: 0,
                subscriber: inbox.name().clone(),
                event,
                code,
                message: message.clone(),
                attempts: *attempts,
                when_ms: now_ms(),
            });
        }
        ticket.answer(settled);
        drop(room);
    }

    fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        // Nothing panics while it holds the lock; so with the others.
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBus").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// Milliseconds since 1970. A clock before that is the operator's to mend.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
