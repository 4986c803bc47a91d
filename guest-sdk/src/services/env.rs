//! The environment variables that the plugin was granted.
//!
//! They come from the host's own interface and not from the environment of a process, so
//! `std::env` does not show them.

use super::backend;

/// All granted variables, in byte order of their names.
#[must_use]
pub fn vars() -> Vec<(String, String)> {
    backend::env()
}

/// One granted variable.
///
/// ```
/// guest_sdk::testing::set_env("REGION", "north");
/// assert_eq!(guest_sdk::env::var("REGION").as_deref(), Some("north"));
/// assert_eq!(guest_sdk::env::var("HOME"), None);
/// ```
#[must_use]
pub fn var(name: &str) -> Option<String> {
    vars().into_iter().find_map(|(key, value)| (key == name).then_some(value))
}
