//! Configuration of a plugin that is to change nothing: what is there can be read, what it writes only it sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use host_ipc::{ConfigError, ConfigLimits, ConfigStore, MemoryConfigStore};
use plugin_contract::PluginId;

use super::lock;

/// Keys of a page, as the stores beneath have them at most.
const PAGE_MAX: usize = 256;

/// Most keys that can be removed from sight; beyond, they stay.
const REMOVED_MAX: usize = 4_096;

/// Reads through to a store, and writes to memory.
pub(crate) struct ScratchConfig {
    beneath: Arc<dyn ConfigStore>,
    written: MemoryConfigStore,
    removed: Mutex<BTreeSet<String>>,
}

impl ScratchConfig {
    pub(crate) fn new(beneath: Arc<dyn ConfigStore>) -> Self {
        let written = MemoryConfigStore::new(ConfigLimits::default());
        Self { beneath, written, removed: Mutex::default() }
    }
}

#[async_trait]
impl ConfigStore for ScratchConfig {
    async fn get(&self, plugin: &PluginId, key: &str) -> Result<Option<String>, ConfigError> {
        if let Some(written) = self.written.get(plugin, key).await? {
            return Ok(Some(written));
        }
        if lock(&self.removed).contains(key) {
            return Ok(None);
        }
        self.beneath.get(plugin, key).await
    }

    async fn set(&self, plugin: &PluginId, key: &str, value: &str) -> Result<(), ConfigError> {
        self.written.set(plugin, key, value).await
    }

    async fn delete(&self, plugin: &PluginId, key: &str) -> Result<(), ConfigError> {
        self.written.delete(plugin, key).await?;
        let mut removed = lock(&self.removed);
        if removed.len() < REMOVED_MAX {
            removed.insert(key.to_owned());
        }
        Ok(())
    }

    async fn list_keys(
        &self,
        plugin: &PluginId,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<String>, ConfigError> {
        let beneath = self.beneath.list_keys(plugin, prefix, after).await?;
        let written = self.written.list_keys(plugin, prefix, after).await?;
        // What comes after the end of either page is for the next one.
        let page = beneath.len().max(written.len()).min(PAGE_MAX);
        let removed = lock(&self.removed).clone();
        let seen = beneath.into_iter().filter(|key| !removed.contains(key)).chain(written);
        let keys: BTreeMap<String, ()> = seen.map(|key| (key, ())).collect();
        Ok(keys.into_keys().take(page.max(1)).collect())
    }
}
