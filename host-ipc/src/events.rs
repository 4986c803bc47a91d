//! Events that guests emit, kept until they are read or crowded out.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plugin_contract::{PluginId, is_event_type};

/// How many events are kept, and how large one may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLogLimits {
    /// Events kept; when one more comes, the oldest goes. Default 10,000.
    pub events_max: usize,
    /// Bytes kept, types and payloads together. Default 16 MiB.
    pub bytes_max: usize,
    /// Bytes of one payload. Default 64 KiB.
    pub payload_bytes_max: usize,
    /// Events that one instance may emit in a second. Default 1,000.
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

/// Something that a plugin says has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Counts up by one for each event that the log took, from 1.
    pub sequence: u64,
    /// 1 to 128 bytes of lower-case letters, digits, `.`, `-` and `_`.
    pub event_type: String,
    /// In a form that the type implies.
    pub payload: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Who emitted it. Set by the host.
    pub source: PluginId,
}

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// In order.
    pub events: Vec<Event>,
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
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    bytes: usize,
    last: u64,
}

impl EventLog {
    /// An empty log.
    pub fn new(limits: EventLogLimits) -> Self {
        Self(Arc::new(Inner { limits, kept: Mutex::default() }))
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &EventLogLimits {
        &self.0.limits
    }

    /// Appends an event and returns its sequence number.
    ///
    /// # Errors
    /// [`EmitRefused`]; nothing was appended.
    pub fn append(
        &self,
        source: PluginId,
        event_type: &str,
        payload: &str,
        timestamp_ms: u64,
    ) -> Result<u64, EmitRefused> {
        let limits = &self.0.limits;
        if !is_event_type(event_type) {
            return Err(EmitRefused::InvalidType);
        }
        if payload.len() > limits.payload_bytes_max {
            return Err(EmitRefused::PayloadTooLarge(limits.payload_bytes_max));
        }
        let mut kept = self.kept();
        kept.last += 1;
        let event = Event {
            sequence: kept.last,
            event_type: event_type.to_owned(),
            payload: payload.to_owned(),
            timestamp_ms,
            source,
        };
        kept.bytes += event.size();
        kept.events.push_back(event);
        while kept.events.len() > limits.events_max || kept.bytes > limits.bytes_max {
            match kept.events.pop_front() {
                Some(oldest) => kept.bytes -= oldest.size(),
                None => break,
            }
        }
        Ok(kept.last)
    }

    /// Some events after the one numbered `after` (0: from the start): at most `count`, and at most
    /// 1 MiB of them, but always one if there is one.
    pub fn read(&self, after: u64, count: usize) -> EventPage {
        let kept = self.kept();
        let first = kept.events.front().map_or(kept.last + 1, |event| event.sequence);
        let missed = (first - 1).saturating_sub(after);
        let skip = usize::try_from(after.saturating_sub(first - 1)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.size();
            bytes <= PAGE_BYTES_MAX || bytes == event.size()
        };
        let events = kept.events.iter().skip(skip).take(count).take_while(fits);
        let events: Vec<Event> = events.cloned().collect();
        let next =
            events.last().map_or(after.max(first - 1).min(kept.last), |event| event.sequence);
        EventPage { events, next, missed }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it holds the lock.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    fn size(&self) -> usize {
        size_of::<Event>() + self.event_type.len() + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{EmitRefused, EventLog, EventLogLimits};

    fn log(limits: EventLogLimits) -> EventLog {
        EventLog::new(limits)
    }

    fn emit(log: &EventLog, payload: &str) -> Result<u64, EmitRefused> {
        log.append("a".parse().unwrap(), "log.line", payload, 0)
    }

    #[track_caller]
    fn page(log: &EventLog, after: u64, count: usize, sequences: &[u64], next: u64, missed: u64) {
        let page = log.read(after, count);
        let found: Vec<u64> = page.events.iter().map(|event| event.sequence).collect();
        assert_eq!((found.as_slice(), page.next, page.missed), (sequences, next, missed));
    }

    #[test]
    fn events_are_read_in_order_and_more_than_once() {
        let log = log(EventLogLimits::default());
        page(&log, 0, 10, &[], 0, 0);
        (0..3).for_each(|_| assert!(emit(&log, "x").is_ok()));
        page(&log, 0, 2, &[1, 2], 2, 0);
        page(&log, 2, 2, &[3], 3, 0);
        page(&log, 3, 2, &[], 3, 0);
        page(&log, 0, 10, &[1, 2, 3], 3, 0);
        page(&log, u64::MAX, 10, &[], 3, 0);
    }

    #[test]
    fn the_oldest_go_first_and_readers_are_told() {
        let log = log(EventLogLimits { events_max: 2, ..EventLogLimits::default() });
        (0..5).for_each(|_| assert!(emit(&log, "x").is_ok()));
        page(&log, 0, 10, &[4, 5], 5, 3);
        page(&log, 3, 10, &[4, 5], 5, 0);
        page(&log, 4, 10, &[5], 5, 0);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let log = log(EventLogLimits { bytes_max: 10_000, ..EventLogLimits::default() });
        (0..100).for_each(|_| assert!(emit(&log, &"x".repeat(1_000)).is_ok()));
        assert!((1..10).contains(&log.read(0, 100).events.len()));
    }

    #[test]
    fn what_is_not_well_formed_or_too_large_is_refused() {
        let log = log(EventLogLimits { payload_bytes_max: 10, ..EventLogLimits::default() });
        assert_eq!(emit(&log, &"x".repeat(10)), Ok(1));
        assert_eq!(emit(&log, &"x".repeat(11)), Err(EmitRefused::PayloadTooLarge(10)));
        for bad in ["", "A", "a b", "a\n", &"x".repeat(129)] {
            let refused = log.append("a".parse().unwrap(), bad, "", 0);
            assert_eq!(refused, Err(EmitRefused::InvalidType), "{bad:?}");
        }
        assert_eq!(log.read(0, 10).events.len(), 1);
    }
}
