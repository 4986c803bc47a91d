//! The end of a log: where records are bound to the chain, written, and begun anew in another file.
//!
//! What is not known to be on disk is kept in memory. If a write or a sync fails, the file is cut back to
//! what is known to be there, and all that is kept is written again: no half of a record is left in the
//! middle, and what a failed sync may have lost is not lost. Time and threads are the writer's.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{
    AuditError, AuditRecord, RecordKind,
    files::{End, LogFile, end_of, log_files, tail_of},
    record::{Hash, LINE_BYTES_MAX, NO_HASH, encode},
    shape::{RESOURCE_BYTES_MAX, shown},
};
use crate::sign::{SigningKey, owner_only};

/// Most that is kept in memory, in bytes, before records are refused.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// Something that can be appended to. A file; in tests, one that fails.
pub(super) trait Medium: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

/// What a file is written through.
pub(super) type Through = Arc<dyn Fn(File) -> Box<dyn Medium> + Send + Sync>;

pub(super) struct Chain {
    directory: PathBuf,
    bytes_max: u64,
    files_max: usize,
    key: SigningKey,
    through: Through,
    /// The oldest first; the last is written to.
    files: Vec<LogFile>,
    file: Box<dyn Medium>,
    /// How much of the file is known to be on disk.
    synced: u64,
    /// What follows it.
    pending: Vec<u8>,
    /// How much of that is in the file.
    written: usize,
    /// Something may follow that in the file, and has to be cut off.
    is_dirty: bool,
    /// Of the last record.
    seq: u64,
    hash: Hash,
    unsealed: u64,
    /// Files of which all records come before this one may go, once `pending` is on disk.
    remove_before: Option<u64>,
}

/// Keeps a copy of a file, as `NAME.damaged`, before more than one torn line is cut off: a log is evidence.
fn set_aside(path: &Path, good_bytes: u64) -> io::Result<()> {
    let (tail, _) = tail_of(path, good_bytes, LINE_BYTES_MAX as u64)?;
    if tail.contains(&b'\n') {
        let mut copy = path.as_os_str().to_owned();
        copy.push(".damaged");
        fs::copy(path, copy)?;
    }
    Ok(())
}

impl Chain {
    /// Finds the end of the log, mends it if it is torn, and records that it was opened.
    ///
    /// # Errors
    /// [`AuditError::Storage`].
    pub(super) fn open(
        directory: &Path,
        (bytes_max, files_max): (u64, usize),
        key: SigningKey,
        through: Through,
    ) -> Result<Self, AuditError> {
        let storage = |path: &Path| {
            let path = path.to_owned();
            move |source| AuditError::storage(&path, source)
        };
        let mut files = log_files(directory).map_err(storage(directory))?;
        let mut torn = Torn::default();
        let mut end = None;
        while let Some(newest) = files.last() {
            end = end_of(&newest.path).map_err(storage(&newest.path))?;
            torn.note(newest, end.as_ref()).map_err(storage(&newest.path))?;
            if end.is_some() {
                break;
            }
            // Begun, and nothing whole got into it. The file before it is the newest then.
            set_aside(&newest.path, 0).map_err(storage(&newest.path))?;
            fs::remove_file(&newest.path).map_err(storage(&newest.path))?;
            files.pop();
        }
        let is_new = files.is_empty();
        if is_new {
            files.push(LogFile::new(directory, 1));
        }
        let path = files.last().map_or_else(|| directory.to_owned(), |newest| newest.path.clone());
        let end = end.unwrap_or(End { seq: 0, hash: NO_HASH, good_bytes: 0, unsealed: 0 });
        let file = append_to(&path, is_new).map_err(storage(&path))?;
        set_aside(&path, end.good_bytes).map_err(storage(&path))?;
        file.set_len(end.good_bytes).map_err(storage(&path))?;
        let mut chain = Self {
            directory: directory.to_owned(),
            bytes_max,
            files_max,
            file: through(file),
            through,
            files,
            synced: end.good_bytes,
            pending: Vec::new(),
            written: 0,
            is_dirty: false,
            seq: end.seq,
            hash: end.hash,
            unsealed: end.unsealed,
            remove_before: None,
            key,
        };
        let now = SystemTime::now();
        chain.append(torn.record(now));
        let mut opened = AuditRecord::new(RecordKind::Opened, now);
        opened.key = Some(chain.key.public().id().to_string());
        chain.append(Some(opened));
        if is_new {
            sync_directory(directory).map_err(storage(directory))?;
        }
        chain.sync().map_err(storage(&path))?;
        Ok(chain)
    }

    /// Binds a record to the chain. It is in memory until [`sync`](Self::sync).
    pub(super) fn append(&mut self, record: impl Into<Option<AuditRecord>>) {
        let Some(mut record) = record.into() else { return };
        let is_seal = record.kind == RecordKind::Checkpoint;
        record.seq = self.seq.saturating_add(1);
        let seq = record.seq;
        // Nothing in a record is beyond JSON; a record that were is not worth a host.
        let Ok((line, hash)) = encode(record, &self.hash, is_seal.then_some(&self.key)) else {
            return;
        };
        self.pending.extend_from_slice(&line);
        (self.seq, self.hash) = (seq, hash);
        self.unsealed = if is_seal { 0 } else { self.unsealed + 1 };
    }

    /// Seals all records up to here.
    pub(super) fn seal(&mut self, now: SystemTime) {
        let mut record = AuditRecord::new(RecordKind::Checkpoint, now);
        record.key = Some(self.key.public().id().to_string());
        self.append(record);
    }

    /// Whether another record may be appended: memory is bounded, and so is a file that cannot be ended.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_BYTES_MAX && self.bytes() < self.bytes_max.saturating_mul(2)
    }

    /// Whether the file has reached its size.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Whether anything is not on disk yet.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many records follow the last checkpoint.
    pub(super) fn unsealed(&self) -> u64 {
        self.unsealed
    }

    fn bytes(&self) -> u64 {
        self.synced + self.pending.len() as u64
    }

    /// Hands what is pending to the system.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.mend()?;
        if self.written < self.pending.len() {
            self.is_dirty = true;
            self.file.append(&self.pending[self.written..])?;
            self.written = self.pending.len();
            self.is_dirty = false;
        }
        Ok(())
    }

    /// Has all that is pending on disk when it returns, and removes the files that may go then.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if !self.pending.is_empty() {
            self.is_dirty = true;
            self.file.sync()?;
            self.is_dirty = false;
            self.synced += self.pending.len() as u64;
            self.pending.clear();
            self.pending.shrink_to(PENDING_BYTES_MAX / 16);
            self.written = 0;
        }
        if let Some(from) = self.remove_before.take() {
            self.remove_before(from);
        }
        Ok(())
    }

    /// After a failure: cuts off what may be half of something, and begins again from what is known.
    fn mend(&mut self) -> io::Result<()> {
        if self.is_dirty {
            self.file.cut(self.synced)?;
            self.written = 0;
            self.is_dirty = false;
        }
        Ok(())
    }

    /// Ends the file and begins another, of which the first record says which records are kept.
    pub(super) fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        if self.unsealed > 0 {
            self.seal(now);
        }
        self.sync()?;
        let next = LogFile::new(&self.directory, self.seq.saturating_add(1));
        // One of that name is what an attempt left that failed half-way: none of its records is ours.
        let file = append_to(&next.path, true)?;
        sync_directory(&self.directory)?;
        self.file = (self.through)(file);
        (self.synced, self.written) = (0, 0);
        self.files.push(next);
        let kept = self.files.len().saturating_sub(self.files_max);
        let from = self.files[kept].first_seq;
        let mut record = AuditRecord::new(RecordKind::Rotated, now);
        record.from = Some(from);
        self.append(record);
        self.remove_before = Some(from);
        self.sync()
    }

    /// A file that cannot be removed is tried again after the next rotation.
    fn remove_before(&mut self, from: u64) {
        self.files.retain(|file| {
            file.first_seq >= from
                || fs::remove_file(&file.path)
                    .is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
    }
}

/// What was cut off the end of the log.
#[derive(Default)]
struct Torn {
    bytes: u64,
    /// The beginning of it.
    sample: Vec<u8>,
}

impl Torn {
    fn note(&mut self, file: &LogFile, end: Option<&End>) -> io::Result<()> {
        let offset = end.map_or(0, |end| end.good_bytes);
        let (sample, length) = tail_of(&file.path, offset, RESOURCE_BYTES_MAX as u64 + 4)?;
        self.bytes += length;
        if self.sample.is_empty() {
            self.sample = sample;
        }
        Ok(())
    }

    fn record(&self, now: SystemTime) -> Option<AuditRecord> {
        if self.bytes == 0 {
            return None;
        }
        let mut record = AuditRecord::new(RecordKind::Recovered, now);
        // A crash leaves a line without an end. Whatever else this was, it was something else.
        let is_torn = !self.sample.contains(&b'\n');
        record.operation = Some(if is_torn { "torn" } else { "damaged" }.to_owned());
        record.resource = Some(shown(&String::from_utf8_lossy(&self.sample), RESOURCE_BYTES_MAX));
        record.count = Some(self.bytes);
        Some(record)
    }
}

fn append_to(path: &Path, is_new: bool) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create_new(is_new);
    owner_only(&mut options);
    if is_new
        && let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    options.open(path)
}

/// Has the names of new files on disk.
#[cfg(unix)]
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
