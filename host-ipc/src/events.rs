//! Events that guests emit, kept until they are read or crowded out.
//!
//! Not here: who is told of them (`bus`).

mod event;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plugin_contract::is_event_type;
use tokio::sync::watch;

pub use event::{Event, Origin, OriginTooLong};

/// How many events are kept, and how large one may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLogLimits {
    /// Events kept; when one more comes, the oldest goes. Default 10,000.
    pub events_max: usize,
    /// Bytes kept, types and payloads together. Default 16 MiB.
    pub bytes_max: usize,
    /// Bytes of one payload. Default 64 KiB.
    pub payload_bytes_max: usize,
    /// Events that one plugin may emit in a second, over all its instances. Default 1,000. The log itself
    /// holds nobody to it: [`EventSource`](crate::EventSource) does.
    pub per_second_max: u32,
}

impl Default for EventLogLimits {
    fn default() -> Self {
        Self {
            events_max: 10_000,
            bytes_max: 16 << 20,
            payload_bytes_max: 64 << 10,
            per_second_max: 1_000,
        }
    }
}

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// In order.
    pub events: Vec<Arc<Event>>,
    /// What to ask for next: events after this one.
    pub next: u64,
    /// Events that were crowded out before this page could be read.
    pub missed: u64,
}

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmitRefused {
    /// The type is not well-formed.
    #[error("event types are 1 to 128 bytes of lower-case letters, digits, `.`, `-` and `_`")]
    InvalidType,
    /// The payload is larger than this many bytes.
    #[error("event payloads hold at most {0} bytes")]
    PayloadTooLarge(usize),
    /// The plugin has emitted this many events within the second.
    #[error("a plugin emits at most {0} events a second")]
    RateLimited(u32),
    /// The events that wait for subscribers take all the memory that they may.
    #[error("too many events wait to be handed on")]
    QueueFull,
    /// The host is shutting down.
    #[error("no further events are taken")]
    Closed,
}

/// Bytes of one page, unless a single event is larger.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A bounded log of events with many writers and many readers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: EventLogLimits,
    kept: Mutex<Kept>,
    /// The sequence number of the latest event. Written while `kept` is locked, so that it never goes back.
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    last: u64,
}

impl EventLog {
    /// An empty log.
    pub fn new(limits: EventLogLimits) -> Self {
        Self(Arc::new(Inner { limits, kept: Mutex::default(), last: watch::Sender::new(0) }))
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &EventLogLimits {
        &self.0.limits
    }

    /// Appends an event. Returns it with its sequence number.
    ///
    /// # Errors
    /// [`EmitRefused::InvalidType`], [`EmitRefused::PayloadTooLarge`]; nothing was appended.
    pub fn append(&self, mut event: Event) -> Result<Arc<Event>, EmitRefused> {
        self.check(&event.event_type, &event.payload)?;
        let limits = &self.0.limits;
        let mut kept = self.kept();
        kept.last += 1;
        event.sequence = kept.last;
        let event = Arc::new(event);
        kept.bytes += event.size();
        kept.events.push_back(event.clone());
        while kept.events.len() > limits.events_max || kept.bytes > limits.bytes_max {
            match kept.events.pop_front() {
                Some(oldest) => kept.bytes -= oldest.size(),
                None => break,
            }
        }
        self.0.last.send_replace(kept.last);
        Ok(event)
    }

    /// Whether an event of this type and payload would be taken.
    pub(crate) fn check(&self, event_type: &str, payload: &str) -> Result<(), EmitRefused> {
        let payload_bytes_max = self.0.limits.payload_bytes_max;
        if !is_event_type(event_type) {
            return Err(EmitRefused::InvalidType);
        }
        if payload.len() > payload_bytes_max {
            return Err(EmitRefused::PayloadTooLarge(payload_bytes_max));
        }
        Ok(())
    }

    /// Returns once an event after the one numbered `after` was appended, at once if it was already; it
    /// may have been crowded out since. Dropping the future before that loses nothing.
    pub async fn changed_past(&self, after: u64) {
        // It fails only without a sender, and `self` holds one.
        _ = self.0.last.subscribe().wait_for(|last| *last > after).await;
    }

    /// Some events after the one numbered `after` (0: from the start): at most `count`, and at most
    /// 1 MiB of them, but always one if there is one.
    pub fn read(&self, after: u64, count: usize) -> EventPage {
        let kept = self.kept();
        let first = kept.events.front().map_or(kept.last + 1, |event| event.sequence);
        let missed = (first - 1).saturating_sub(after);
        let skip = usize::try_from(after.saturating_sub(first - 1)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |event: &&Arc<Event>| {
            bytes += event.size();
            bytes <= PAGE_BYTES_MAX || bytes == event.size()
        };
        let events = kept.events.iter().skip(skip).take(count).take_while(fits);
        let events: Vec<_> = events.cloned().collect();
        let next =
            events.last().map_or(after.max(first - 1).min(kept.last), |event| event.sequence);
        EventPage { events, next, missed }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it holds the lock.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
