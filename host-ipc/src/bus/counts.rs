//! How busy a bus is.

use plugin_contract::PluginId;

/// What a bus has done, and what it holds. Counters start at 0 with the bus.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BusCounts {
    /// Events handed in, whether or not anyone subscribes to them. Not those that `emit` refused.
    pub published: u64,
    /// Events that wait or are under way now, once for each subscriber.
    pub queued: u64,
    /// Bytes that they take, of [`BusSettings::bytes_max`](crate::BusSettings::bytes_max).
    pub queued_bytes: u64,
    /// Dead letters kept now.
    pub dead_letters: u64,
    /// Dead letters crowded out.
    pub dead_letters_dropped: u64,
    /// Each subscriber, by name. Of those that left, the latest 1,000 are remembered.
    pub subscribers: Vec<SubscriberCounts>,
}

/// What became of the events for one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberCounts {
    /// The subscriber.
    pub name: PluginId,
    /// Whether it still is one.
    pub subscribed: bool,
    /// Events that wait or are under way now.
    pub queued: u64,
    /// Events handled.
    pub delivered: u64,
    /// Deliveries that failed and were, or will be, repeated.
    pub retried: u64,
    /// Events that became dead letters. One that is replayed and fails again counts twice.
    pub dead: u64,
}
