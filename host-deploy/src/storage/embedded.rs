//! The embedded store: parts are files named by their digest, the rest is one file with real transactions.
//!
//! ```text
//! DIR/deployments.redb    deployments, histories, the secret
//! DIR/parts/<digest>      what versions are made of
//! DIR/parts/.new-*        what was being written when the process ended; removed at the next start
//! ```
//!
//! The order of writing is what makes it hold: a part is durable, with its name, before a deployment that
//! refers to it is committed, and the last deployment that refers to a part is gone before the part is.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use plugin_contract::{Digest, PluginId};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Collected, HISTORY_MAX, PluginStorage, StorageError};
use crate::{Change, Deployment, Record, SplitKey};

/// Name to revision and deployment, as JSON.
const DEPLOYMENTS: TableDefinition<'static, &'static str, (u64, &'static [u8])> =
    TableDefinition::new("deployments");

/// Name and number to record, as JSON.
const HISTORY: TableDefinition<'static, (&'static str, u64), &'static [u8]> =
    TableDefinition::new("history");

/// What there is one of.
const FACTS: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("facts");

const FORMAT: &[u8] = b"2";

/// Keeps deployments in a directory. One process may have it open at a time. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedStorage {
    inner: Arc<Inner>,
}

struct Inner {
    /// Where the database is.
    path: PathBuf,
    /// There but while it is opened anew.
    database: RwLock<Option<Database>>,
    /// It has failed, and takes nothing until it is opened anew.
    is_broken: AtomicBool,
    parts: PathBuf,
    /// Parts that were put and may be about to be referred to: they are not collected. Bounded, since
    /// each is removed with the commit that refers to it, or is forgotten with the process.
    fresh: Mutex<HashSet<Digest>>,
    /// Names what is being written.
    writing: AtomicU64,
}

impl EmbeddedStorage {
    /// Opens the directory, or makes it. Blocks while it reads. `split_key` becomes the store's secret if it
    /// is new, and should be random.
    ///
    /// # Errors
    /// [`StorageError`]: not a directory, not writable, not a store, or open elsewhere.
    pub fn open(directory: &Path, split_key: SplitKey) -> Result<Self, StorageError> {
        let parts = directory.join("parts");
        fs::create_dir_all(&parts).map_err(StorageError::of_io)?;
        let path = directory.join("deployments.redb");
        let database = Database::create(&path).map_err(failed)?;
        // What is not committed after a crash is nobody's.
        for entry in fs::read_dir(&parts).map_err(StorageError::of_io)? {
            let entry = entry.map_err(StorageError::of_io)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".new-") {
                fs::remove_file(entry.path()).map_err(StorageError::of_io)?;
            }
        }
        let transaction = database.begin_write().map_err(failed)?;
        {
            // First: in another format, the others are other tables.
            let mut facts = transaction.open_table(FACTS).map_err(failed)?;
            let format = facts.get("format").map_err(failed)?.map(|found| found.value().to_vec());
            match format {
                Some(format) if format != FORMAT => {
                    return Err(StorageError::Corrupt {
                        what: "the format of deployments".to_owned(),
                    });
                }
                Some(_) => {}
                None => {
                    facts.insert("format", FORMAT).map_err(failed)?;
                    facts.insert("split-key", json(&split_key)?.as_slice()).map_err(failed)?;
                }
            }
            transaction.open_table(DEPLOYMENTS).map_err(failed)?;
            transaction.open_table(HISTORY).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        // What is in it is durable, and so is that it is there.
        for made in [directory, directory.parent().unwrap_or(directory)] {
            sync_directory(made).map_err(StorageError::of_io)?;
        }
        let inner = Inner {
            path,
            database: RwLock::new(Some(database)),
            is_broken: AtomicBool::new(false),
            parts,
            fresh: Mutex::default(),
            writing: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Disks are slow and sometimes very slow: never on the threads that serve calls.
    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<R, StorageError> + Send + 'static,
    ) -> Result<R, StorageError> {
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(StorageError::Failed(error.into())),
        }
    }
}

impl Inner {
    fn fresh(&self) -> MutexGuard<'_, HashSet<Digest>> {
        // Nothing panics while it holds the lock.
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has something done with the database. One that has met a full disk wants to be opened anew.
    fn with<R>(
        &self,
        work: impl FnOnce(&Database) -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        if self.is_broken.load(Ordering::Acquire) {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            // The old one holds the file until it is gone.
            *database = None;
            *database = Some(Database::create(&self.path).map_err(failed)?);
            self.is_broken.store(false, Ordering::Release);
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &*database else {
            return Err(StorageError::Failed("it could not be opened anew".into()));
        };
        work(database).inspect_err(|error| {
            use StorageError::{Failed, Full, ReadOnly};
            if matches!(error, Full(_) | ReadOnly(_) | Failed(_)) {
                self.is_broken.store(true, Ordering::Release);
            }
        })
    }

    fn path(&self, part: &Digest) -> PathBuf {
        self.parts.join(hex(part))
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StorageError> {
        let digest = Digest::of(bytes);
        // Before anything is there to be collected.
        self.fresh().insert(digest);
        let path = self.path(&digest);
        if self.read(&digest).is_ok_and(|there| there.len() == bytes.len()) {
            // Whoever wrote it may have been killed before its name was durable.
            sync_directory(&self.parts).map_err(StorageError::of_io)?;
            return Ok(digest);
        }
        let number = self.writing.fetch_add(1, Ordering::Relaxed);
        let new = self.parts.join(format!(".new-{}-{number}", std::process::id()));
        let written = write_durably(&new, bytes)
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| sync_directory(&self.parts));
        if let Err(error) = written {
            // It may not even be there.
            let _ = fs::remove_file(&new);
            self.fresh().remove(&digest);
            return Err(StorageError::of_io(error));
        }
        Ok(digest)
    }

    fn read(&self, part: &Digest) -> Result<Vec<u8>, StorageError> {
        let bytes = match fs::read(self.path(part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StorageError::Missing(*part));
            }
            other => other.map_err(StorageError::of_io)?,
        };
        match Digest::of(&bytes) == *part {
            true => Ok(bytes),
            false => Err(StorageError::Corrupt { what: part.to_string() }),
        }
    }

    fn deployments(&self) -> Result<Vec<Deployment>, StorageError> {
        self.with(all_deployments)
    }
}

fn all_deployments(database: &Database) -> Result<Vec<Deployment>, StorageError> {
    let table = database.begin_read().map_err(failed)?;
    let table = table.open_table(DEPLOYMENTS).map_err(failed)?;
    let mut all = Vec::new();
    for entry in table.iter().map_err(failed)? {
        let (name, value) = entry.map_err(failed)?;
        all.push(read_deployment(name.value(), value.value().1)?);
    }
    Ok(all)
}

impl Inner {
    fn deployment(&self, name: &str) -> Result<Option<Deployment>, StorageError> {
        self.with(|database| {
            let table = database.begin_read().map_err(failed)?;
            let table = table.open_table(DEPLOYMENTS).map_err(failed)?;
            let value = table.get(name).map_err(failed)?;
            value.map(|value| read_deployment(name, value.value().1)).transpose()
        })
    }

    fn commit(&self, change: &Change) -> Result<(), StorageError> {
        let Change { seen, deployment, new_parts, records } = change;
        let name = deployment.name.as_str();
        self.with(|database| {
            let transaction = database.begin_write().map_err(failed)?;
            {
                let mut table = transaction.open_table(DEPLOYMENTS).map_err(failed)?;
                let found = table.get(name).map_err(failed)?.map_or(0, |was| was.value().0);
                if found != *seen {
                    let (name, seen) = (deployment.name.clone(), *seen);
                    return Err(StorageError::Conflict { name, seen, found });
                }
                // Of what it referred to before, one may have been lost: no reason to keep a canary that does
                // harm. None can be collected meanwhile: that takes a transaction, too.
                if let Some(part) = new_parts.iter().find(|part| !self.path(part).is_file()) {
                    return Err(StorageError::Missing(*part));
                }
                let stored = json(&**deployment)?;
                table.insert(name, (deployment.revision, &*stored)).map_err(failed)?;
                let mut history = transaction.open_table(HISTORY).map_err(failed)?;
                let last = history.range((name, 0)..=(name, u64::MAX)).map_err(failed)?.next_back();
                let last = last.transpose().map_err(failed)?.map_or(0, |(key, _)| key.value().1);
                let mut seq = last;
                for record in records {
                    seq += 1;
                    let record = Record { seq, ..record.clone() };
                    history.insert((name, seq), json(&record)?.as_slice()).map_err(failed)?;
                }
                // What was too old before is gone already: a few at a time.
                let keep_from = seq.saturating_sub(HISTORY_MAX as u64) + 1;
                for old in (last + 1).saturating_sub(HISTORY_MAX as u64)..keep_from {
                    history.remove((name, old)).map_err(failed)?;
                }
            }
            transaction.commit().map_err(failed)
        })?;
        let mut fresh = self.fresh();
        if !fresh.is_empty() {
            // Those that were put once more, too.
            for part in deployment.parts() {
                fresh.remove(&part);
            }
        }
        Ok(())
    }

    fn history(&self, name: &str, limit: usize) -> Result<Vec<Record>, StorageError> {
        self.with(|database| {
            let table = database.begin_read().map_err(failed)?;
            let table = table.open_table(HISTORY).map_err(failed)?;
            let newest =
                table.range((name, 0)..=(name, u64::MAX)).map_err(failed)?.rev().take(limit);
            let mut records = newest
                .map(|entry| {
                    let (_, value) = entry.map_err(failed)?;
                    serde_json::from_slice(value.value()).map_err(|_| corrupt(name))
                })
                .collect::<Result<Vec<Record>, _>>()?;
            records.reverse();
            Ok(records)
        })
    }

    fn collect(&self) -> Result<Collected, StorageError> {
        let mut collected = Collected::default();
        let parts = |all: Vec<Deployment>| all.iter().flat_map(Deployment::parts).collect();
        let needed: HashSet<Digest> = self.with(all_deployments).map(parts)?;
        for entry in fs::read_dir(&self.parts).map_err(StorageError::of_io)? {
            let entry = entry.map_err(StorageError::of_io)?;
            let name = entry.file_name();
            let part: Option<Digest> =
                name.to_str().and_then(|name| format!("sha256:{name}").parse().ok());
            let Some(part) = part.filter(|part| !needed.contains(part)) else { continue };
            // One transaction for each: no deployment can come to refer to it between the two steps.
            self.with(|database| {
                if self.fresh().contains(&part) {
                    return Ok(());
                }
                let _writing = database.begin_write().map_err(failed)?;
                let all = all_deployments(database)?;
                let needed = all.iter().any(|all| all.parts().any(|it| it == part));
                if !needed && !self.fresh().contains(&part) {
                    let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                    fs::remove_file(entry.path()).map_err(StorageError::of_io)?;
                    collected.parts += 1;
                    collected.bytes += bytes;
                }
                Ok(())
            })?;
        }
        Ok(collected)
    }

    fn split_key(&self) -> Result<SplitKey, StorageError> {
        self.with(|database| {
            let table = database.begin_read().map_err(failed)?;
            let table = table.open_table(FACTS).map_err(failed)?;
            let value = table.get("split-key").map_err(failed)?;
            let key = value.and_then(|value| serde_json::from_slice(value.value()).ok());
            key.ok_or_else(|| StorageError::Corrupt { what: "the secret".to_owned() })
        })
    }
}

#[async_trait]
impl PluginStorage for EmbeddedStorage {
    async fn put(&self, bytes: Arc<[u8]>) -> Result<Digest, StorageError> {
        self.blocking(move |inner| inner.put(&bytes)).await
    }

    async fn get(&self, part: &Digest) -> Result<Arc<[u8]>, StorageError> {
        let part = *part;
        self.blocking(move |inner| Ok(inner.read(&part)?.into())).await
    }

    async fn file(&self, part: &Digest) -> Result<PathBuf, StorageError> {
        let part = *part;
        self.blocking(move |inner| {
            let path = inner.path(&part);
            match fs::metadata(&path) {
                Ok(_) => Ok(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(StorageError::Missing(part))
                }
                Err(error) => Err(StorageError::of_io(error)),
            }
        })
        .await
    }

    async fn deployments(&self) -> Result<Vec<Deployment>, StorageError> {
        self.blocking(|inner| inner.deployments()).await
    }

    async fn deployment(&self, name: &PluginId) -> Result<Option<Deployment>, StorageError> {
        let name = name.clone();
        self.blocking(move |inner| inner.deployment(name.as_str())).await
    }

    async fn commit(&self, change: &Change) -> Result<(), StorageError> {
        let change = change.clone();
        self.blocking(move |inner| inner.commit(&change)).await
    }

    async fn history(&self, name: &PluginId, limit: usize) -> Result<Vec<Record>, StorageError> {
        let name = name.clone();
        self.blocking(move |inner| inner.history(name.as_str(), limit)).await
    }

    async fn collect(&self) -> Result<Collected, StorageError> {
        self.blocking(|inner| inner.collect()).await
    }

    async fn split_key(&self) -> Result<SplitKey, StorageError> {
        self.blocking(|inner| inner.split_key()).await
    }
}

fn hex(part: &Digest) -> String {
    part.to_string().trim_start_matches("sha256:").to_owned()
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Without it, a file may be there after a crash, and its name may not.
fn sync_directory(path: &Path) -> io::Result<()> {
    // Elsewhere, directories cannot be opened, and need not be.
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(value).map_err(|error| StorageError::Failed(error.into()))
}

fn read_deployment(name: &str, bytes: &[u8]) -> Result<Deployment, StorageError> {
    let deployment: Deployment = serde_json::from_slice(bytes).map_err(|_| corrupt(name))?;
    match deployment.name.as_str() == name && deployment.is_consistent() {
        true => Ok(deployment),
        false => Err(corrupt(name)),
    }
}

fn corrupt(name: &str) -> StorageError {
    StorageError::Corrupt { what: format!("the deployment of `{name}`") }
}

/// The kinds of errors that redb has, down to what the system said, if it said something.
fn failed(error: impl Into<redb::Error>) -> StorageError {
    match error.into() {
        redb::Error::Io(error) => StorageError::of_io(error),
        error => StorageError::Failed(error.into()),
    }
}
