//! Compiled code on disk: a directory with a file for each, and the key that tells them from forgeries.
//!
//! Whatever is wrong with it costs a compile and a line in the log, never a load.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    CacheSettings,
    entry::{self, OVERHEAD_BYTES},
    files,
    key::{CodeKey, FILE_SUFFIX},
    load::NativeCode,
    metrics::Counters,
    secret::Secret,
    wire::CODE_BYTES_MAX,
};
use crate::CoreError;

/// Use is noted to this grain, so that a hit writes to the disk at most once a minute.
const USE_GRAIN: Duration = Duration::from_secs(60);
/// How many files are written before others' are counted again.
const WRITES_PER_COUNT: u64 = 32;

pub(super) struct Disk {
    settings: CacheSettings,
    secret: Secret,
    writes: AtomicU64,
    counters: Arc<Counters>,
}

impl Disk {
    /// # Errors
    /// `core/unreadable` if the directory cannot be what is meant.
    pub(super) fn open_if_usable(
        settings: CacheSettings,
        counters: &Arc<Counters>,
    ) -> Result<Option<Self>, CoreError> {
        use io::ErrorKind::{AlreadyExists, InvalidData, NotADirectory};
        let path = settings.directory.clone();
        match Self::open(settings, counters.clone()) {
            Ok(disk) => Ok(Some(disk)),
            Err(source) if [AlreadyExists, InvalidData, NotADirectory].contains(&source.kind()) => {
                Err(CoreError::Unreadable { path, source })
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(directory = %path.display(), error, "compiled code is not kept on disk");
                Ok(None)
            }
        }
    }

    fn open(settings: CacheSettings, counters: Arc<Counters>) -> io::Result<Self> {
        files::make_private(&settings.directory)?;
        // Whatever lies in the way of key or lock, the host can do without the cache.
        let secret = Secret::open(&settings.directory).map_err(io::Error::other)?;
        files::sweep(&settings.directory)?;
        let disk = Self { settings, secret, writes: AtomicU64::new(0), counters };
        disk.make_room();
        Ok(disk)
    }

    /// The code for `key`, if there is any, and it is just what was written.
    pub(super) fn read(&self, key: &CodeKey) -> Option<NativeCode> {
        let file = match files::open(&self.path(key)) {
            Ok(file) => file,
            Err(error) => return self.unreadable(key, &error),
        };
        let bytes = match file.read(CODE_BYTES_MAX + OVERHEAD_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return self.unreadable(key, &error),
        };
        let code = NativeCode::authentic(bytes, key, &self.secret);
        let code = code.inspect_err(|mismatch| self.reject(key, &mismatch.to_string())).ok()?;
        file.touch(USE_GRAIN);
        Some(code)
    }

    fn unreadable(&self, key: &CodeKey, error: &io::Error) -> Option<NativeCode> {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match error.kind() {
            NotFound => {}
            InvalidData | UnexpectedEof => self.reject(key, &error.to_string()),
            // It may be good, and only the system has no more files to give.
            _ => tracing::warn!(
                file = %self.path(key).display(),
                error = error as &dyn std::error::Error,
                "compiled code cannot be read"
            ),
        }
        None
    }

    /// Removes what is not the code for `key`, and says so.
    pub(super) fn reject(&self, key: &CodeKey, reason: &str) {
        let path = self.path(key);
        Counters::add(&self.counters.rejected);
        tracing::warn!(file = %path.display(), reason, "compiled code is rejected");
        if let Err(error) = files::remove(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(file = %path.display(), error, "compiled code cannot be removed");
        }
    }

    /// Keeps `code`, if that can be done.
    pub(super) fn write(&self, key: &CodeKey, code: &NativeCode) {
        let bytes = code.bytes().len() as u64 + OVERHEAD_BYTES;
        if bytes > self.settings.bytes_max.min(CODE_BYTES_MAX + OVERHEAD_BYTES) {
            tracing::debug!(bytes, "compiled code is too large to be kept on disk");
            return;
        }
        let written = entry::seal(key, code.bytes(), &self.secret)
            .and_then(|file| files::write(&self.settings.directory, &key.file_name(), &file));
        if let Err(error) = written {
            Counters::add(&self.counters.write_failed);
            tracing::warn!(
                file = %self.path(key).display(),
                error = &error as &dyn std::error::Error,
                "compiled code cannot be kept on disk"
            );
            return;
        }
        let all = self.counters.disk_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let writes = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        // Counting them all takes longer the more there are; other hosts may have written here.
        if all > self.settings.bytes_max || writes.is_multiple_of(WRITES_PER_COUNT) {
            self.make_room();
        }
    }

    /// Removes what was not used for longest, until the rest may stay. Others may do so at the same time.
    fn make_room(&self) {
        let mut files = match files::list(&self.settings.directory, FILE_SUFFIX) {
            Ok(files) => files,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the directory of compiled code cannot be listed");
                return;
            }
        };
        let bytes_max = self.settings.bytes_max;
        // One that cannot stay in any case must not drive out the others.
        files.sort_by_key(|file| (file.bytes <= bytes_max, file.modified));
        // Sparse files of others can claim any size.
        let mut bytes = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes));
        for file in files {
            if bytes <= bytes_max {
                break;
            }
            match std::fs::remove_file(&file.path) {
                Ok(()) => Counters::add(&self.counters.evicted),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => continue,
            }
            bytes = bytes.saturating_sub(file.bytes);
        }
        self.counters.disk_bytes.store(bytes, Ordering::Relaxed);
    }

    fn path(&self, key: &CodeKey) -> PathBuf {
        self.settings.directory.join(key.file_name())
    }
}
