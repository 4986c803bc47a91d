//! Where deployments are kept: a port, and what every store behind it promises.
//!
//! A store keeps *parts* (components, manifests, signatures, contracts) by the digest of their bytes, and
//! for each plugin one [`Deployment`] with its history. Its promises:
//!
//! 1. What was acknowledged is there after a crash at any moment.
//! 2. [`commit`](PluginStorage::commit) stores the deployment and its records, or nothing; and only if the
//!    deployment is at the revision that the change was decided on. Of two operators, one wins.
//! 3. A deployment never refers to a part that is not there: [`commit`](PluginStorage::commit) refuses it, and
//!    [`collect`](PluginStorage::collect) removes only what no deployment refers to.
//! 4. Bytes that are handed out are those of their digest. Of a [`file`](PluginStorage::file), its reader sees to that.
//!
//! [`MemoryStorage`] is for hosts that keep nothing; `EmbeddedStorage`, with the feature `embedded`, for a
//! host on a machine of its own. For a fleet, implement the trait over what the fleet shares, and put it
//! through the tests of `storage/tests.rs`: each store here passes the same ones.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use plugin_contract::{Digest, Explain, PluginId};

use crate::{Change, Deployment, Record, SplitKey};

#[cfg(feature = "embedded")]
mod embedded;
mod memory;
#[cfg(test)]
mod tests;

#[cfg(feature = "embedded")]
pub use embedded::EmbeddedStorage;
pub use memory::MemoryStorage;

/// Keeps deployments.
#[async_trait]
pub trait PluginStorage: Send + Sync + 'static {
    /// Keeps a part. Returns its digest once it is durable; the same bytes are kept once.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn put(&self, bytes: Arc<[u8]>) -> Result<Digest, StorageError>;

    /// The bytes of a part.
    ///
    /// # Errors
    /// [`StorageError::Missing`], [`StorageError::Corrupt`].
    async fn get(&self, part: &Digest) -> Result<Arc<[u8]>, StorageError>;

    /// A file on this machine that holds the part, for whoever reads it later and again. Readers compare its
    /// bytes with the digest: what happens to a file between two reads, no store can promise.
    ///
    /// # Errors
    /// [`StorageError`]; [`StorageError::Missing`] if there is no such part.
    async fn file(&self, part: &Digest) -> Result<PathBuf, StorageError>;

    /// All deployments, by name.
    ///
    /// # Errors
    /// [`StorageError`]; [`StorageError::Corrupt`] if one cannot be what was stored.
    async fn deployments(&self) -> Result<Vec<Deployment>, StorageError>;

    /// One deployment; `None` if nothing of the plugin was ever deployed.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn deployment(&self, name: &PluginId) -> Result<Option<Deployment>, StorageError>;

    /// Makes a change so, with its records.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the deployment is at another revision than the change saw;
    /// [`StorageError::Missing`] if one of the new parts is not there. Nothing is stored.
    async fn commit(&self, change: &Change) -> Result<(), StorageError>;

    /// The newest records of a plugin, at most `limit`, the oldest of them first.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn history(&self, name: &PluginId, limit: usize) -> Result<Vec<Record>, StorageError>;

    /// Removes the parts that no deployment refers to, but for those that came so lately that their
    /// deployment may still be on its way. Returns what was removed.
    ///
    /// # Errors
    /// [`StorageError`]; what could be removed is.
    async fn collect(&self) -> Result<Collected, StorageError>;

    /// A secret that stays the same for as long as the store does: who falls into a canary's share.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn split_key(&self) -> Result<SplitKey, StorageError>;

    /// The text of what the active version of a plugin imports and exports.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn current_wit(&self, name: &PluginId) -> Result<Option<String>, StorageError> {
        let Some(deployment) = self.deployment(name).await? else { return Ok(None) };
        let Some(active) = deployment.active() else { return Ok(None) };
        let bytes = self.get(&active.artifact.wit).await?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Records kept for each plugin; the oldest go first.
pub const HISTORY_MAX: usize = 10_000;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Parts.
    pub parts: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// Why something was not stored, or not found. What was stored before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Somebody else was faster.
    #[error("`{name}` was changed meanwhile: it is at revision {found}, not {seen}")]
    Conflict {
        /// The plugin.
        name: PluginId,
        /// What the change was decided on.
        seen: u64,
        /// What there is.
        found: u64,
    },
    /// There is no such part.
    #[error("the store has no {0}")]
    Missing(Digest),
    /// What is there is not what was stored.
    #[error("what the store has as {what} is not what was stored")]
    Corrupt {
        /// Which part or deployment.
        what: String,
    },
    /// There is no room left.
    #[error("there is no room left to store it")]
    Full(#[source] Cause),
    /// The store cannot be written to.
    #[error("the store cannot be written to")]
    ReadOnly(#[source] Cause),
    /// Anything else.
    #[error("the store failed")]
    Failed(#[source] Cause),
}

/// What lies beneath an error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl StorageError {
    /// Of what the system said.
    pub fn of_io(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        match error.kind() {
            StorageFull | QuotaExceeded => Self::Full(error.into()),
            PermissionDenied | ReadOnlyFilesystem => Self::ReadOnly(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl Explain for StorageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "deploy/conflict",
            Self::Missing(_) => "deploy/artifact-missing",
            Self::Corrupt { .. } => "deploy/storage-corrupt",
            Self::Full(_) => "deploy/storage-full",
            Self::ReadOnly(_) => "deploy/storage-read-only",
            Self::Failed(_) => "deploy/storage-failed",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "look at what the other one did, and decide anew",
            Self::Missing(_) => "deploy the version again",
            Self::Corrupt { .. } => {
                "restore the data directory from a copy, or deploy the version again"
            }
            Self::Full(_) => "make room where the data directory lies; what served goes on serving",
            Self::ReadOnly(_) => {
                "let the host write to its data directory; what served goes on serving"
            }
            Self::Failed(_) => "see the cause; what served goes on serving",
        }
    }
}
