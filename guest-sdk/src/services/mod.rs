//! What the host offers to a plugin, as plain Rust functions and typed errors.
//!
//! In a component the calls go to the host; natively an in-memory host answers them
//! ([`crate::testing`]), so that unit tests need neither.
//! Not here: what the host does with a call; that is the operator's grant.

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
#[cfg(target_family = "wasm")]
mod wasm;

#[cfg(not(target_family = "wasm"))]
use native as backend;
#[cfg(target_family = "wasm")]
use wasm as backend;

pub mod config;
pub mod env;
pub mod events;
pub mod http;
pub(crate) mod logging;
pub mod messaging;

use std::fmt;
use std::path::PathBuf;

/// Why there is no data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirError {
    /// This host keeps no data directories.
    NotAvailable,
    /// The plugin was not granted one.
    Denied,
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAvailable => "this host keeps no data directories",
            Self::Denied => "the plugin was not granted a data directory",
        })
    }
}

impl std::error::Error for DirError {}

/// The directory that is private to the plugin, as a path in the plugin's own view of the filesystem.
///
/// # Errors
/// Where there is none, or none was granted.
pub fn data_dir() -> Result<PathBuf, DirError> {
    backend::data_dir().map(PathBuf::from)
}
