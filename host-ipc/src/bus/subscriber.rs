//! Who is handed events, and what they may say of one that they did not handle.

use async_trait::async_trait;

use crate::Event;

/// Someone who is handed events.
///
/// The same event may come more than once: whoever must not act on it twice remembers it. How long a
/// delivery may take is the subscriber's to bound; meanwhile it holds up further events of the same source.
#[async_trait]
pub trait Subscriber: Send + Sync + 'static {
    /// Handles one event. Dropped half-way if the bus is closed meanwhile.
    ///
    /// A panic counts as [`Undelivered`] with the code `ipc/subscriber-panicked`, not to be retried.
    ///
    /// # Errors
    /// [`Undelivered`]: the event is delivered again, or becomes a dead letter.
    async fn deliver(&self, event: &Event) -> Result<(), Undelivered>;
}

/// Why an event was not handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Undelivered {
    /// Stable across releases, such as `core/deadline`.
    pub code: &'static str,
    /// For people. May come from a guest: it is escaped and cut before it is shown.
    pub message: String,
    /// Whether it may go better another time.
    pub retry: Retry,
}

/// What is to become of an event that was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again: it is a dead letter.
    Never,
    /// It may go better another time, up to [`attempts_max`](crate::BusSettings::attempts_max) times.
    Later,
    /// The subscriber was not there to try. The event waits for it, and looks up to
    /// [`away_max`](crate::BusSettings::away_max) times whether it is back.
    WhenBack,
}
