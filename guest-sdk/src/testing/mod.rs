//! Drives plugins in native unit tests, without a host.
//!
//! The services of the host are answered in memory: log lines and events are kept for the test to
//! look at, configuration and environment are what the test sets, HTTP and messages answer
//! `NotAvailable`. All of it belongs to the thread, and `cargo test` gives each test its own.
//!
//! ```
//! use guest_sdk::{config, testing};
//!
//! testing::set_config("mode", "strict");
//! assert_eq!(config::get("mode")?.as_deref(), Some("strict"));
//! # Ok::<(), guest_sdk::Error>(())
//! ```

mod harness;

#[cfg(test)]
pub(crate) use harness::ready;
pub use harness::{FullHarness, Harness};

use std::cell::RefCell;

use crate::services::native;
use crate::{Answer, CallContext, Error, Result};

/// A line that the plugin logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: log::Level,
    /// The name of the logger: by default the module path.
    pub target: String,
    /// The line itself.
    pub message: String,
}

/// An event that the plugin emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmittedEvent {
    /// What kind of thing happened.
    pub event_type: String,
    /// The details.
    pub payload: String,
}

/// What the inner plugin of a decorator does, in a test.
type Inner = Box<dyn Fn(&CallContext) -> Result<Answer>>;

thread_local! {
    static INNER: RefCell<Option<Inner>> = const { RefCell::new(None) };
}

/// The lines logged so far, oldest first. Only lines logged after a harness was made are seen.
#[must_use]
pub fn logged() -> Vec<LogLine> {
    native::with(|host| host.lines.clone())
}

/// The events emitted so far, oldest first.
#[must_use]
pub fn emitted() -> Vec<EmittedEvent> {
    native::with(|host| host.events.clone())
}

/// Takes the events emitted so far, oldest first; the next call starts empty.
#[must_use]
pub fn take_emitted() -> Vec<EmittedEvent> {
    native::with(|host| std::mem::take(&mut host.events))
}

/// Sets a value in the configuration store.
pub fn set_config(key: &str, value: &str) {
    native::with(|host| host.config.insert(key.to_owned(), value.to_owned()));
}

/// Grants an environment variable.
pub fn set_env(name: &str, value: &str) {
    native::with(|host| host.env.insert(name.to_owned(), value.to_owned()));
}

/// Grants a data directory.
pub fn set_data_dir(path: &str) {
    native::with(|host| host.data_dir = Some(path.to_owned()));
}

/// Says what [`crate::inner::process`] answers.
pub fn set_inner(answer: impl Fn(&CallContext) -> Result<Answer> + 'static) {
    INNER.set(Some(Box::new(answer)));
}

/// Forgets all that was set and kept on this thread.
pub fn reset() {
    native::with(|host| *host = native::Host::default());
    INNER.set(None);
}

pub(crate) fn call_inner(ctx: &CallContext) -> Result<Answer> {
    INNER.with_borrow(|inner| match inner {
        Some(answer) => answer(ctx),
        None => Err(Error::msg("no inner plugin; `testing::set_inner` says what it answers")),
    })
}
