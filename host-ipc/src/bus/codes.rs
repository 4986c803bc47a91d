//! The codes of dead letters that the bus itself makes. Stable across releases.

pub(super) const QUEUE_FULL: &str = "ipc/queue-full";
pub(super) const UNSUBSCRIBED: &str = "ipc/unsubscribed";
pub(super) const EVENT_LOOP: &str = "ipc/event-loop";
pub(super) const CLOSED: &str = "ipc/closed";
pub(super) const PANICKED: &str = "ipc/subscriber-panicked";
