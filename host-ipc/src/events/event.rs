//! One event, and where it came from.

use std::{fmt, sync::Arc};

use plugin_contract::{Caller, PluginId, is_event_type};

use super::EmitRefused;

/// Something that has happened, as a plugin says or someone outside the host.
///
/// Made by [`Event::new`], and shared from then on: whoever keeps one keeps an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Counts up by one for each event that the log took, from 1. 0: the log has not taken it, as it takes
    /// none from outside.
    pub sequence: u64,
    /// 1 to 128 bytes of lower-case letters, digits, `.`, `-` and `_`.
    pub event_type: String,
    /// In a form that the type implies.
    pub payload: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Who emitted it. Set by the host.
    pub source: Origin,
    /// The request that led to it, over however many other events; `-` if none did.
    pub request_id: Arc<str>,
    /// The trace that this request belongs to, where there is one.
    pub trace: Option<Arc<str>>,
    /// How many events led to it, one from within the handling of the other. 0: it came from outside, or
    /// was emitted while no event was handled.
    pub hops: u32,
}

impl Event {
    /// An event that no request and no other event led to.
    ///
    /// # Errors
    /// [`EmitRefused::InvalidType`].
    pub fn new(
        source: Origin,
        event_type: &str,
        payload: &str,
        timestamp_ms: u64,
    ) -> Result<Self, EmitRefused> {
        if !is_event_type(event_type) {
            return Err(EmitRefused::InvalidType);
        }
        Ok(Self {
            sequence: 0,
            event_type: event_type.to_owned(),
            payload: payload.to_owned(),
            timestamp_ms,
            source,
            request_id: "-".into(),
            trace: None,
            hops: 0,
        })
    }

    /// The same event, led to by the request of `caller`, its trace, and the events that led there.
    #[must_use]
    pub fn caused_by(mut self, caller: &Caller) -> Self {
        self.request_id = caller.request_id.clone();
        self.trace = caller.trace.clone();
        self.hops = caller.hops;
        self
    }

    /// In whose name it is handled: what is emitted meanwhile is one event further.
    pub fn handler(&self) -> Caller {
        let mut caller = Caller::new(self.request_id.clone());
        caller.trace = self.trace.clone();
        caller.hops = self.hops.saturating_add(1);
        caller
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>()
            + self.event_type.len()
            + self.payload.len()
            + self.request_id.len()
            + self.trace.as_ref().map_or(0, |trace| trace.len())
            + self.source.as_str().len()
    }
}

/// Where an event came from: a plugin, or someone outside who goes by any name.
///
/// The two never equal each other, so that nobody outside can take a plugin's place in a queue by its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Plugin(PluginId),
    Outside(Arc<str>),
}

impl Origin {
    /// Longest name of someone outside, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Someone outside the host, by a name of at most 128 bytes.
    ///
    /// # Errors
    /// [`OriginTooLong`].
    pub fn outside(name: &str) -> Result<Self, OriginTooLong> {
        if name.len() > Self::BYTES_MAX {
            return Err(OriginTooLong);
        }
        Ok(Self(Kind::Outside(name.into())))
    }

    /// The name, of either kind. What someone outside chose is shown as it came: escape it for people.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Plugin(plugin) => plugin.as_str(),
            Kind::Outside(name) => name,
        }
    }

    /// The plugin, if it is one.
    pub fn plugin(&self) -> Option<&PluginId> {
        match &self.0 {
            Kind::Plugin(plugin) => Some(plugin),
            Kind::Outside(_) => None,
        }
    }
}

impl From<PluginId> for Origin {
    fn from(plugin: PluginId) -> Self {
        Self(Kind::Plugin(plugin))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Plugin(plugin) => write!(f, "plugin {plugin:?}"),
            Kind::Outside(name) => write!(f, "outside {name:?}"),
        }
    }
}

/// A name for someone outside that is longer than [`Origin::BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sources of events are at most {} bytes", Origin::BYTES_MAX)]
pub struct OriginTooLong;
