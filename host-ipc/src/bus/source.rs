//! Where a plugin's events come in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use plugin_contract::{Caller, PluginId};
use tokio::time::Instant;

use super::Shared;
use crate::{EmitRefused, Event};

/// The events of one plugin. Cheap to clone; all instances of the plugin share one, and with it the
/// plugin's share of events.
#[derive(Clone)]
pub struct EventSource(Arc<Inner>);

struct Inner {
    bus: Arc<Shared>,
    plugin: PluginId,
    /// Locked for as long as an event is taken, so that the log and all queues have a plugin's events in
    /// the same order.
    rate: Mutex<Rate>,
}

/// Events in the current second.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    since: Option<Instant>,
    emitted: u32,
}

/// The sources in use, so that one plugin never has two.
#[derive(Default)]
pub(super) struct Sources(Mutex<HashMap<PluginId, Weak<Inner>>>);

impl Sources {
    pub(super) fn get(&self, bus: &Arc<Shared>, plugin: PluginId) -> EventSource {
        let mut sources = self.lock();
        if let Some(source) = sources.get(&plugin).and_then(Weak::upgrade) {
            return EventSource(source);
        }
        let (bus, rate) = (bus.clone(), Mutex::default());
        let source = Arc::new(Inner { bus, plugin: plugin.clone(), rate });
        sources.insert(plugin, Arc::downgrade(&source));
        EventSource(source)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PluginId, Weak<Inner>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut sources = self.bus.sources.lock();
        // Another may have taken its place already.
        if sources.get(&self.plugin).is_some_and(|source| source.strong_count() == 0) {
            sources.remove(&self.plugin);
        }
    }
}

impl EventSource {
    /// The plugin whose events these are.
    pub fn plugin(&self) -> &PluginId {
        &self.0.plugin
    }

    /// Takes an event into the log and hands it to all who subscribe to its type. Returns its sequence
    /// number, and does not wait for anyone.
    ///
    /// `caller` is whoever the plugin works for, and [`Event::handler`] while it handles an event. One that more
    /// events led to than [`hops_max`](crate::BusSettings::hops_max) is taken into the log, and handed to nobody.
    ///
    /// # Errors
    /// Any [`EmitRefused`]; nothing was appended, nor handed to anyone. An event that is refused does not
    /// count as emitted within the second.
    pub fn emit(
        &self,
        event_type: &str,
        payload: &str,
        timestamp_ms: u64,
        caller: &Caller,
    ) -> Result<u64, EmitRefused> {
        let Inner { bus, plugin, .. } = &*self.0;
        let (event, aftermath) = {
            let mut rate = self.rate();
            let emitted = rate.one_more(bus.log.limits().per_second_max, Instant::now())?;
            // Before the payload is copied, which may be large.
            bus.log.check(event_type, payload)?;
            let event = Event::new(plugin.clone().into(), event_type, payload, timestamp_ms)?;
            let taken = bus.emit(event.caused_by(caller))?;
            *rate = emitted;
            taken
        };
        aftermath.carry_out(bus);
        Ok(event.sequence)
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        // Nothing panics while it holds the lock.
        self.0.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    /// What it is with one event more, at `now`.
    fn one_more(self, max: u32, now: Instant) -> Result<Self, EmitRefused> {
        let current = |since: &Instant| now.duration_since(*since) < Duration::from_secs(1);
        let rate = match self.since.filter(current) {
            Some(_) => self,
            None => Self { since: Some(now), emitted: 0 },
        };
        if rate.emitted >= max {
            return Err(EmitRefused::RateLimited(max));
        }
        Ok(Self { emitted: rate.emitted + 1, ..rate })
    }
}

#[cfg(test)]
impl Sources {
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}
