//! Events that the plugin hands to the host.

use std::fmt;

use super::backend;

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// This host takes no events.
    NotAvailable,
    /// Event types are 1 to 128 bytes of lower-case letters, digits, `.`, `-` and `_`.
    InvalidType,
    /// Payloads hold at most this many bytes.
    PayloadTooLarge(u64),
    /// Too many events wait to be handed on; try again later.
    QueueFull,
    /// The plugin emits faster than this many events a second.
    RateLimited(u32),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAvailable => f.write_str("this host takes no events"),
            Self::InvalidType => f.write_str(
                "event types are 1 to 128 bytes of lower-case letters, digits, `.`, `-` and `_`",
            ),
            Self::PayloadTooLarge(max) => write!(f, "event payloads hold at most {max} bytes"),
            Self::QueueFull => f.write_str("too many events wait to be handed on"),
            Self::RateLimited(max) => write!(f, "more than {max} events a second"),
        }
    }
}

impl std::error::Error for EmitError {}

/// Hands an event to the host. Returns once it is queued, not once it is handled.
///
/// # Errors
/// [`EmitError`]; the event is not queued.
pub fn emit(event_type: &str, payload: &str) -> Result<(), EmitError> {
    backend::emit(event_type, payload)
}
