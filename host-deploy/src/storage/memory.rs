//! A store that forgets all when it is dropped.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use plugin_contract::{Digest, PluginId};

use super::{Collected, HISTORY_MAX, PluginStorage, StorageError};
use crate::{Change, Deployment, Record, SplitKey};

/// Keeps everything in memory. It has no files, so whoever asks for one is told that there is none.
pub struct MemoryStorage {
    kept: Mutex<Kept>,
    split_key: SplitKey,
}

#[derive(Default)]
struct Kept {
    parts: BTreeMap<Digest, Arc<[u8]>>,
    deployments: BTreeMap<PluginId, Deployment>,
    history: BTreeMap<PluginId, Vec<Record>>,
}

impl MemoryStorage {
    /// An empty store. `split_key` should be random.
    pub fn new(split_key: SplitKey) -> Self {
        Self { kept: Mutex::default(), split_key }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PluginStorage for MemoryStorage {
    async fn put(&self, bytes: Arc<[u8]>) -> Result<Digest, StorageError> {
        let digest = Digest::of(&bytes);
        self.kept().parts.insert(digest, bytes);
        Ok(digest)
    }

    async fn get(&self, part: &Digest) -> Result<Arc<[u8]>, StorageError> {
        self.kept().parts.get(part).cloned().ok_or(StorageError::Missing(*part))
    }

    async fn file(&self, _: &Digest) -> Result<PathBuf, StorageError> {
        Err(StorageError::Failed("what is kept in memory lies in no file".into()))
    }

    async fn deployments(&self) -> Result<Vec<Deployment>, StorageError> {
        Ok(self.kept().deployments.values().cloned().collect())
    }

    async fn deployment(&self, name: &PluginId) -> Result<Option<Deployment>, StorageError> {
        Ok(self.kept().deployments.get(name).cloned())
    }

    async fn commit(&self, change: &Change) -> Result<(), StorageError> {
        let mut kept = self.kept();
        let name = &change.deployment.name;
        let found = kept.deployments.get(name).map_or(0, |deployment| deployment.revision);
        if found != change.seen {
            return Err(StorageError::Conflict { name: name.clone(), seen: change.seen, found });
        }
        if let Some(missing) = change.new_parts.iter().find(|part| !kept.parts.contains_key(part)) {
            return Err(StorageError::Missing(*missing));
        }
        kept.deployments.insert(name.clone(), Deployment::clone(&change.deployment));
        let history = kept.history.entry(name.clone()).or_default();
        for record in &change.records {
            let seq = history.last().map_or(0, |last| last.seq) + 1;
            history.push(Record { seq, ..record.clone() });
        }
        let over = history.len().saturating_sub(HISTORY_MAX);
        history.drain(..over);
        Ok(())
    }

    async fn history(&self, name: &PluginId, limit: usize) -> Result<Vec<Record>, StorageError> {
        let kept = self.kept();
        let records = kept.history.get(name).map(Vec::as_slice).unwrap_or_default();
        Ok(records[records.len().saturating_sub(limit)..].to_vec())
    }

    async fn collect(&self) -> Result<Collected, StorageError> {
        let mut kept = self.kept();
        let needed: HashSet<Digest> =
            kept.deployments.values().flat_map(Deployment::parts).collect();
        let mut collected = Collected::default();
        kept.parts.retain(|part, bytes| {
            let stays = needed.contains(part);
            collected.parts += u64::from(!stays);
            collected.bytes += if stays { 0 } else { bytes.len() as u64 };
            stays
        });
        Ok(collected)
    }

    async fn split_key(&self) -> Result<SplitKey, StorageError> {
        Ok(self.split_key.clone())
    }
}
