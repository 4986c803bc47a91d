//! A store that forgets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use plugin_contract::PluginId;

use super::{ConfigError, ConfigLimits, ConfigStore};

/// Keeps values as long as it lives: for tests, and for runs without a data directory.
#[derive(Debug, Default)]
pub struct MemoryConfigStore {
    limits: ConfigLimits,
    plugins: Mutex<HashMap<PluginId, BTreeMap<String, String>>>,
}

impl MemoryConfigStore {
    /// An empty store.
    pub fn new(limits: ConfigLimits) -> Self {
        Self { limits, plugins: Mutex::default() }
    }

    fn plugins(&self) -> MutexGuard<'_, HashMap<PluginId, BTreeMap<String, String>>> {
        // Nothing panics while it holds the lock.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ConfigStore for MemoryConfigStore {
    async fn get(&self, plugin: &PluginId, key: &str) -> Result<Option<String>, ConfigError> {
        self.limits.check_key(key)?;
        Ok(self.plugins().get(plugin).and_then(|values| values.get(key)).cloned())
    }

    async fn set(&self, plugin: &PluginId, key: &str, value: &str) -> Result<(), ConfigError> {
        let mut plugins = self.plugins();
        let values = plugins.entry(plugin.clone()).or_default();
        let others =
            values.iter().filter(|(other, _)| *other != key).map(|(k, v)| (k.len(), v.len()));
        self.limits.check_share(others, key, value)?;
        values.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    async fn delete(&self, plugin: &PluginId, key: &str) -> Result<(), ConfigError> {
        self.limits.check_key(key)?;
        if let Some(values) = self.plugins().get_mut(plugin) {
            values.remove(key);
        }
        Ok(())
    }

    async fn list_keys(
        &self,
        plugin: &PluginId,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<String>, ConfigError> {
        let plugins = self.plugins();
        let keys = plugins.get(plugin).into_iter().flatten().map(|(key, _)| key);
        Ok(keys
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
            .take(self.limits.page_keys)
            .cloned()
            .collect())
    }
}
