//! World `event-plugin`: reacts to things that happened.

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::event_handler as wit;
use crate::{Error, Plugin, Result};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing, as dotted lower-case words: `log.line`.
    pub event_type: String,
    /// The details, in a form that the type implies.
    pub payload: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Who says so: a plugin's name, or what the caller of the host gave.
    pub source: String,
}

/// Reacts to events.
pub trait EventHandler: Plugin {
    /// The event types to be called for: exact, or `prefix.*`. Asked once, after `initialize`.
    fn supported_events(&self) -> Vec<String>;

    /// Handles one event.
    ///
    /// # Errors
    /// After an error the host may hand the same event over again.
    fn on_event(&self, event: Event) -> Result<()>;
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: EventHandler,
{
    fn on_event(event: wit::Event) -> Result<(), String> {
        let event = Event {
            event_type: event.event_type,
            payload: event.payload,
            timestamp_ms: event.timestamp,
            source: event.source,
        };
        super::with::<E, _>(|plugin| plugin.on_event(event)).map_err(Error::into_wire)
    }

    fn supported_events() -> Vec<String> {
        // Before `initialize` there is nobody to ask, so there is nothing to be called for.
        super::with::<E, _>(|plugin| Ok(plugin.supported_events())).unwrap_or_default()
    }
}

/// Exports an [`EventHandler`] as the world `event-plugin`.
///
/// ```
/// use guest_sdk::prelude::*;
///
/// struct Echo;
/// impl Plugin for Echo {
///     fn initialize() -> Result<Self> { Ok(Echo) }
/// }
/// impl EventHandler for Echo {
///     fn supported_events(&self) -> Vec<String> { vec!["ping".to_owned()] }
///     fn on_event(&self, event: Event) -> Result<()> {
///         Ok(guest_sdk::events::emit("pong", &event.payload)?)
///     }
/// }
/// guest_sdk::event_plugin!(Echo);
///
/// let mut echo = guest_sdk::testing::Harness::<Echo>::new()?;
/// echo.event("ping", "hello")?;
/// assert_eq!(guest_sdk::testing::emitted()[0].payload, "hello");
/// # Ok::<(), guest_sdk::Error>(())
/// ```
#[macro_export]
macro_rules! event_plugin {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::EventHandler, EVENT_PLUGIN:
            base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
            event_handler __export_toolsku_plugin_system_event_handler_1_1_0_cabi
        );
    };
}
