//! Small durable values, private to the plugin and kept across its versions.
//!
//! A value is durable once [`set`] has returned. The host keeps at most 1,024 keys of 256 bytes,
//! values of 64 KiB, 1 MiB in all.
//!
//! ```
//! use guest_sdk::config;
//!
//! config::set("greeting", "hello")?;
//! assert_eq!(config::get("greeting")?.as_deref(), Some("hello"));
//! assert_eq!(config::keys("")?, ["greeting"]);
//! # Ok::<(), guest_sdk::Error>(())
//! ```

use std::fmt;

use serde::de::DeserializeOwned;

use super::backend;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The host has no store for this plugin.
    NotAvailable,
    /// Keys are 1 to this many bytes, without control characters.
    InvalidKey(u32),
    /// Values hold at most this many bytes.
    ValueTooLarge(u64),
    /// The plugin's share of this many bytes is used up.
    Full(u64),
    /// The plugin may keep at most this many keys.
    TooManyKeys(u32),
    /// The store could not be read or written; nothing was changed.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAvailable => f.write_str("this host keeps no configuration store"),
            Self::InvalidKey(max) => {
                write!(f, "keys are 1 to {max} bytes without control characters")
            }
            Self::ValueTooLarge(max) => write!(f, "values hold at most {max} bytes"),
            Self::Full(max) => write!(f, "the configuration store of {max} bytes is full"),
            Self::TooManyKeys(max) => write!(f, "the configuration store holds at most {max} keys"),
            Self::Failed(why) => write!(f, "the configuration store failed: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The value of `key`, if there is one.
///
/// # Errors
/// [`StoreError`]; a missing key is `Ok(None)`.
pub fn get(key: &str) -> Result<Option<String>, StoreError> {
    backend::config_get(key)
}

/// Sets `key` to `value`, in place of what it was.
///
/// # Errors
/// [`StoreError`]; the old value is kept.
pub fn set(key: &str, value: &str) -> Result<(), StoreError> {
    backend::config_set(key, value)
}

/// Removes `key`; removing what is not there is no error.
///
/// # Errors
/// [`StoreError`]; the value is kept.
pub fn delete(key: &str) -> Result<(), StoreError> {
    backend::config_delete(key)
}

/// All keys that start with `prefix`, in byte order.
///
/// # Errors
/// [`StoreError`].
pub fn keys(prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = backend::config_list(prefix, all.last().map(String::as_str))?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The whole store as a struct: each key is a field, read as [`crate::options`] are.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Settings { retries: u8 }
///
/// guest_sdk::config::set("retries", "3")?;
/// let settings: Settings = guest_sdk::config::load()?;
/// assert_eq!(settings.retries, 3);
/// # Ok::<(), guest_sdk::Error>(())
/// ```
///
/// # Errors
/// What [`keys`] and [`get`] say, and a text that names the key that does not fit.
pub fn load<T: DeserializeOwned>() -> crate::Result<T> {
    let mut pairs = Vec::new();
    for key in keys("")? {
        if let Some(value) = get(&key)? {
            pairs.push((key, value));
        }
    }
    Ok(crate::options::from_pairs(&pairs)?)
}
