//! Telling of limits that guests reach.

use std::{fmt, sync::Arc};

/// A guest asked a service for more than it may have, and got a typed error, or was cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// Which service: `log`, `config`, `emit-event`, `messaging`.
    pub service: &'static str,
    /// What it asked for: `a line of 10485760 bytes`. Nothing that the guest chose the words of.
    pub asked: String,
    /// The limit, with its value: `log line = 8192 bytes`.
    pub limit: String,
}

/// Whoever wants to know. Called on the way of a guest's call: must not block.
#[derive(Clone, Default)]
pub(crate) struct LimitWatch(Option<Watch>);

type Watch = Arc<dyn Fn(&LimitReached) + Send + Sync>;

impl fmt::Debug for LimitWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitWatch")
    }
}

impl LimitWatch {
    pub(crate) fn new(watch: Watch) -> Self {
        Self(Some(watch))
    }

    pub(crate) fn tell(
        &self,
        service: &'static str,
        asked: impl FnOnce() -> String,
        limit: impl FnOnce() -> String,
    ) {
        if let Some(watch) = &self.0 {
            watch(&LimitReached { service, asked: asked(), limit: limit() });
        }
    }
}
