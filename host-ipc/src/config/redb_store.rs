//! The embedded store: one file, real transactions.

use std::{ops::Bound, path::Path, sync::Arc};

use async_trait::async_trait;
use plugin_contract::PluginId;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::Semaphore;

use super::{ConfigError, ConfigLimits, ConfigStore};

/// Plugin and key to value.
const VALUES: TableDefinition<'static, (&'static str, &'static str), &'static str> =
    TableDefinition::new("plugin-config");

/// Keeps values in a redb file. One process may have it open at a time.
#[derive(Clone)]
pub struct RedbConfigStore {
    database: Arc<Database>,
    limits: ConfigLimits,
    /// Whoever waits for a turn waits on no thread, and a call that is over waits no longer: a slow disk holds
    /// up these few threads, and none of those that everything else needs.
    writing: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// Reads at one time. Writes are one after the other.
const READERS: usize = 4;

impl RedbConfigStore {
    /// Opens the file at `path`, or makes it. Blocks while it reads.
    ///
    /// # Errors
    /// [`ConfigError::Storage`]: no such directory, not writable, not a store, or open elsewhere.
    pub fn open(path: &Path, limits: ConfigLimits) -> Result<Self, ConfigError> {
        let database = Database::create(path).map_err(storage)?;
        // So that reading finds a table in a new file.
        let transaction = database.begin_write().map_err(storage)?;
        transaction.open_table(VALUES).map_err(storage)?;
        transaction.commit().map_err(storage)?;
        let (writing, reading) = (Semaphore::new(1).into(), Semaphore::new(READERS).into());
        Ok(Self { database: Arc::new(database), limits, writing, reading })
    }

    /// Disks are slow and sometimes very slow: never on the threads that serve calls.
    async fn blocking<R: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce(&Self) -> Result<R, ConfigError> + Send + 'static,
    ) -> Result<R, ConfigError> {
        let turn = turns.clone().acquire_owned().await.map_err(storage)?;
        let store = self.clone();
        let work = move || {
            let result = work(&store);
            drop(turn);
            result
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(storage(error)),
        }
    }

    fn read(&self, plugin: &str, key: &str) -> Result<Option<String>, ConfigError> {
        let table =
            self.database.begin_read().map_err(storage)?.open_table(VALUES).map_err(storage)?;
        let value = table.get((plugin, key)).map_err(storage)?;
        Ok(value.map(|value| value.value().to_owned()))
    }

    fn write(&self, plugin: &str, key: &str, value: Option<&str>) -> Result<(), ConfigError> {
        let transaction = self.database.begin_write().map_err(storage)?;
        {
            let mut table = transaction.open_table(VALUES).map_err(storage)?;
            match value {
                Some(value) => {
                    let others = values_of(&table, plugin, Bound::Included(""))?
                        .filter(|entry| !matches!(entry, Ok((other, _)) if other == key))
                        .map(|entry| entry.map(|(key, value)| (key.len(), value.len())))
                        .collect::<Result<Vec<_>, _>>()?;
                    self.limits.check_share(others.into_iter(), key, value)?;
                    table.insert((plugin, key), value).map_err(storage)?;
                }
                None => drop(table.remove((plugin, key)).map_err(storage)?),
            }
        }
        transaction.commit().map_err(storage)
    }

    fn keys(&self, plugin: &str, prefix: &str, after: &str) -> Result<Vec<String>, ConfigError> {
        let table =
            self.database.begin_read().map_err(storage)?.open_table(VALUES).map_err(storage)?;
        let from = if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
        values_of(&table, plugin, from)?
            .map(|entry| entry.map(|(key, _)| key))
            .take_while(|key| key.as_ref().map_or(true, |key| key.starts_with(prefix)))
            .take(self.limits.page_keys)
            .collect()
    }
}

/// The entries of one plugin from a key on, in order.
fn values_of<'a>(
    table: &'a impl ReadableTable<(&'static str, &'static str), &'static str>,
    plugin: &'a str,
    from: Bound<&'a str>,
) -> Result<impl Iterator<Item = Result<(String, String), ConfigError>> + 'a, ConfigError> {
    let start = match from {
        Bound::Included(key) => Bound::Included((plugin, key)),
        Bound::Excluded(key) => Bound::Excluded((plugin, key)),
        Bound::Unbounded => Bound::Included((plugin, "")),
    };
    let range = table.range::<(&str, &str)>((start, Bound::Unbounded)).map_err(storage)?;
    Ok(range
        .map(|entry| {
            let (key, value) = entry.map_err(storage)?;
            let (owner, key) = key.value();
            Ok((owner.to_owned(), key.to_owned(), value.value().to_owned()))
        })
        .take_while(move |entry| entry.as_ref().map_or(true, |(owner, ..)| owner == plugin))
        .map(|entry| entry.map(|(_, key, value)| (key, value))))
}

fn storage(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ConfigError {
    let error = error.into();
    tracing::error!(%error, "the configuration store failed");
    ConfigError::Storage(error)
}

#[async_trait]
impl ConfigStore for RedbConfigStore {
    async fn get(&self, plugin: &PluginId, key: &str) -> Result<Option<String>, ConfigError> {
        self.limits.check_key(key)?;
        let (plugin, key) = (plugin.clone(), key.to_owned());
        self.blocking(&self.reading, move |store| store.read(plugin.as_str(), &key)).await
    }

    async fn set(&self, plugin: &PluginId, key: &str, value: &str) -> Result<(), ConfigError> {
        self.limits.check_key(key)?;
        let (plugin, key, value) = (plugin.clone(), key.to_owned(), value.to_owned());
        self.blocking(&self.writing, move |store| store.write(plugin.as_str(), &key, Some(&value)))
            .await
    }

    async fn delete(&self, plugin: &PluginId, key: &str) -> Result<(), ConfigError> {
        self.limits.check_key(key)?;
        let (plugin, key) = (plugin.clone(), key.to_owned());
        self.blocking(&self.writing, move |store| store.write(plugin.as_str(), &key, None)).await
    }

    async fn list_keys(
        &self,
        plugin: &PluginId,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<String>, ConfigError> {
        if prefix.len() > self.limits.key_bytes_max {
            return Ok(Vec::new()); // no key starts with more than a key
        }
        let (plugin, prefix) = (plugin.clone(), prefix.to_owned());
        let after = after.unwrap_or_default().to_owned();
        self.blocking(&self.reading, move |store| store.keys(plugin.as_str(), &prefix, &after))
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ConfigLimits, ConfigStore, RedbConfigStore};

    #[test]
    fn a_disk_that_does_not_answer_holds_up_one_thread_and_no_reader() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.redb");
        let store = RedbConfigStore::open(&path, ConfigLimits::default()).unwrap();
        let stuck = store.database.begin_write().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(2)
            .build()
            .unwrap();
        runtime.block_on(async {
            let plugin = "a".parse().unwrap();
            for _ in 0..10 {
                let set = store.set(&plugin, "key", "given up");
                tokio::time::timeout(Duration::from_millis(1), set).await.unwrap_err();
            }
            let get = tokio::time::timeout(Duration::from_secs(60), store.get(&plugin, "key"));
            assert_eq!(get.await.expect("readers go on").unwrap(), None);
            drop(stuck);
            store.set(&plugin, "key", "value").await.unwrap();
            assert_eq!(store.get(&plugin, "key").await.unwrap().as_deref(), Some("value"));
        });
    }
}
