//! Small durable values, kept per plugin: the port, and its rules.

mod memory;
mod redb_store;

use async_trait::async_trait;
use plugin_contract::{Explain, PluginId};

pub use memory::MemoryConfigStore;
pub use redb_store::RedbConfigStore;

/// Where plugins' configuration is kept. Each plugin sees its own keys only.
///
/// A value is durable once [`ConfigStore::set`] has returned. Implementations check keys and shares
/// by [`ConfigLimits`], so that all stores answer alike.
#[async_trait]
pub trait ConfigStore: Send + Sync + 'static {
    /// The value of `key`.
    async fn get(&self, plugin: &PluginId, key: &str) -> Result<Option<String>, ConfigError>;
    /// Sets `key` to `value`. On an error nothing was changed.
    async fn set(&self, plugin: &PluginId, key: &str, value: &str) -> Result<(), ConfigError>;
    /// Removes `key`, if it is there.
    async fn delete(&self, plugin: &PluginId, key: &str) -> Result<(), ConfigError>;
    /// At most [`ConfigLimits::page_keys`] keys that start with `prefix` and come after `after`, in
    /// byte order.
    async fn list_keys(
        &self,
        plugin: &PluginId,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<String>, ConfigError>;
}

/// The share of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLimits {
    /// Keys. Default 1,024.
    pub keys_max: u32,
    /// Bytes of one key. Default 256.
    pub key_bytes_max: usize,
    /// Bytes of one value. Default 64 KiB.
    pub value_bytes_max: usize,
    /// Bytes of all keys and values. Default 1 MiB.
    pub bytes_max: u64,
    /// Keys that one listing returns. Default 256.
    pub page_keys: usize,
}

impl Default for ConfigLimits {
    fn default() -> Self {
        Self {
            keys_max: 1_024,
            key_bytes_max: 256,
            value_bytes_max: 64 << 10,
            bytes_max: 1 << 20,
            page_keys: 256,
        }
    }
}

impl ConfigLimits {
    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        let fits = (1..=self.key_bytes_max).contains(&key.len()) && !key.contains(char::is_control);
        if fits { Ok(()) } else { Err(ConfigError::InvalidKey { bytes_max: self.key_bytes_max }) }
    }

    /// Whether a plugin that keeps `others` (without the value to be replaced) may keep `key` too.
    fn check_share(
        &self,
        others: impl Iterator<Item = (usize, usize)>,
        key: &str,
        value: &str,
    ) -> Result<(), ConfigError> {
        self.check_key(key)?;
        if value.len() > self.value_bytes_max {
            return Err(ConfigError::ValueTooLarge { bytes_max: self.value_bytes_max });
        }
        let (mut keys, mut bytes) = (1_u32, (key.len() + value.len()) as u64);
        for (key_bytes, value_bytes) in others {
            keys += 1;
            bytes += (key_bytes + value_bytes) as u64;
        }
        if keys > self.keys_max {
            return Err(ConfigError::TooManyKeys { keys_max: self.keys_max });
        }
        if bytes > self.bytes_max {
            return Err(ConfigError::Full { bytes_max: self.bytes_max });
        }
        Ok(())
    }
}

/// Why a store did not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Empty, too long, or with control characters.
    #[error("keys are 1 to {bytes_max} bytes, without control characters")]
    InvalidKey {
        /// The longest key.
        bytes_max: usize,
    },
    /// The value is too long.
    #[error("values hold at most {bytes_max} bytes")]
    ValueTooLarge {
        /// The longest value.
        bytes_max: usize,
    },
    /// The plugin's bytes are used up.
    #[error("the plugin's share of {bytes_max} bytes is used up")]
    Full {
        /// The share.
        bytes_max: u64,
    },
    /// The plugin's keys are used up.
    #[error("the plugin may keep at most {keys_max} keys")]
    TooManyKeys {
        /// The share.
        keys_max: u32,
    },
    /// The storage below failed.
    #[error("the configuration store failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Explain for ConfigError {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidKey { .. } => "ipc/invalid-key",
            Self::ValueTooLarge { .. } => "ipc/value-too-large",
            Self::Full { .. } => "ipc/config-full",
            Self::TooManyKeys { .. } => "ipc/too-many-keys",
            Self::Storage(_) => "ipc/storage-failed",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::InvalidKey { .. } => "use a shorter key of printable characters",
            Self::ValueTooLarge { .. } => "split the value, or keep it elsewhere",
            Self::Full { .. } | Self::TooManyKeys { .. } => "delete keys that are not needed",
            Self::Storage(_) => {
                "see that the data directory is writable, not full, and used by no other host"
            }
        }
    }
}

#[cfg(test)]
mod tests;
