//! The log as the host has it: events in, one thread behind, a bounded queue between.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    AuditError, AuditEvent, AuditSink,
    chain::{Chain, Through, sync_directory},
    files::{self, FILES_MAX, log_files},
    rates::{Answer, Rates},
    shape::{self, Folded},
    writer::Writer,
};
use crate::sign::{PublicKey, SignError, SigningKey, owner_only, shown};

/// How a log is kept.
#[derive(Clone)]
#[non_exhaustive]
pub struct AuditSettings {
    /// Where. Made if it is not there; nothing else should write to it.
    pub directory: PathBuf,
    /// Bytes of a file, at which another is begun; a file ends within a few kilobytes of it. Default 16 MiB,
    /// at least 4 KiB.
    pub bytes_max: u64,
    /// Files that are kept; older ones are removed. Default 8, at least 1, at most 10,000.
    pub files_max: usize,
    /// Events that wait to be written. Default 8,192, at least 1. What does not fit is counted in a record.
    pub queue_max: usize,
    /// Records that a plugin may cause in a second, in the long run; those of what is done to it count
    /// apart. Default 50. What is over is counted, in one record about every second.
    pub plugin_rate: u32,
    /// Records that a plugin may cause at once. Default 100.
    pub plugin_burst: u32,
    /// Records after which a checkpoint is signed. Default 256, at least 1.
    pub checkpoint_records: u64,
    /// Time after which one is signed, if there are records that none seals. Default 10 s.
    pub checkpoint_interval: Duration,
    pub(super) through: Through,
}

impl fmt::Debug for AuditSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditSettings({})", self.directory.display())
    }
}

impl AuditSettings {
    /// The defaults, for this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            bytes_max: 16 << 20,
            files_max: 8,
            queue_max: 8_192,
            plugin_rate: 50,
            plugin_burst: 100,
            checkpoint_records: 256,
            checkpoint_interval: Duration::from_secs(10),
            through: Arc::new(|file| Box::new(file)),
        }
    }
}

/// The audit log of a host. Cheap to clone; the last clone closes the log when it is dropped, for which it
/// waits up to 30 s.
///
/// Recording never waits for the disk, and never fails. A record is written at once, and on disk within
/// 100 ms. While that does not work, up to 1 MiB is kept and the rest counted; it is tried again every
/// second, [`failures`](Self::failures) counts how often, and nothing else of the host notices.
///
/// ```
/// use std::{sync::Arc, time::SystemTime};
/// use host_security::{Auditor, audit::{AuditLog, AuditSettings, read, verify}};
/// # let dir = tempfile::tempdir()?;
/// # let directory = dir.path().join("audit");
///
/// let log = AuditLog::open(AuditSettings::new(&directory))?;
/// let auditor = Auditor::new("resizer", "1.0.0", Some(Arc::new(log.clone())));
/// auditor.lifecycle("loaded", "sha256:...");
/// log.close()?;
///
/// let verified = verify(&directory, None)?;
/// assert_eq!(verified.sealed_up_to, Some(verified.last_seq));
/// let records: Vec<_> = read(&directory)?.collect::<Result<_, _>>()?;
/// assert_eq!(records[1].plugin.as_deref(), Some("resizer"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AuditLog {
    handle: Arc<Handle>,
}

/// What all clones have together. Dropped, it closes the log.
struct Handle {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    directory: PathBuf,
}

pub(super) enum Message {
    Event(Box<AuditEvent>),
    /// Something is to be done that is not in the queue.
    Wake,
}

/// What recorders and the writer have together.
pub(super) struct Shared {
    rates: Mutex<Rates>,
    /// Events that found no place in the queue.
    dropped: AtomicU64,
    failures: AtomicU64,
    control: Mutex<Control>,
    changed: Condvar,
}

#[derive(Default)]
struct Control {
    /// How often someone asked to have everything on disk.
    asked: u64,
    /// Up to which time that was answered, and how.
    answered: u64,
    answer: Option<String>,
    is_closing: bool,
    is_closed: bool,
    last_error: Option<String>,
}

/// Longest wait for the writer.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl AuditLog {
    /// Opens the log in a directory, or begins one. An end that a crash has torn is cut off, and that is
    /// recorded. The first opening makes `audit.key`, which its owner alone may read, and `audit.pub`.
    ///
    /// # Errors
    /// `audit/in-use`, `audit/storage-failed`, `audit/key-missing`, `audit/key-mismatch`, and those of the
    /// key: `sign/key-exposed`, `sign/key-invalid`, `sign/file`, `sign/no-randomness`.
    pub fn open(mut settings: AuditSettings) -> Result<Self, AuditError> {
        settings.bytes_max = settings.bytes_max.max(4 << 10);
        settings.files_max = settings.files_max.clamp(1, FILES_MAX - 2);
        settings.queue_max = settings.queue_max.clamp(1, 1 << 20);
        let directory = settings.directory.clone();
        make_directory(&directory).map_err(|error| AuditError::storage(&directory, error))?;
        let lock = lock(&directory)?;
        let key = key(&directory)?;
        let sizes = (settings.bytes_max, settings.files_max);
        let chain = Chain::open(&directory, sizes, key, settings.through.clone())?;

        let (queue, taken) = mpsc::sync_channel(settings.queue_max);
        let shared = Arc::new(Shared {
            rates: Mutex::new(Rates::new(settings.plugin_rate, settings.plugin_burst)),
            dropped: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            control: Mutex::default(),
            changed: Condvar::new(),
        });
        let closes = Closes { shared: shared.clone(), _lock: lock };
        let writer = Writer::new(chain, taken, shared.clone(), &settings);
        thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || {
                // Dropped after the writer: whoever waits for the end finds the files released.
                let _closes = closes;
                writer.run();
            })
            .map_err(|error| AuditError::storage(&directory, error))?;
        Ok(Self { handle: Arc::new(Handle { queue, shared, directory }) })
    }

    /// Waits until everything that was recorded before is on disk, counts of what was not kept included.
    /// Not for the way of a call: it waits for the disk, up to 30 s.
    ///
    /// # Errors
    /// `audit/not-written`. It is tried again all the same.
    pub fn flush(&self) -> Result<(), AuditError> {
        let Handle { shared, .. } = &*self.handle;
        let mut control = lock_of(&shared.control);
        control.asked += 1;
        let ticket = control.asked;
        drop(control);
        self.handle.wake();
        let control = shared.wait(|control| control.answered < ticket && !control.is_closed);
        let problem = if control.answered >= ticket {
            control.answer.clone()
        } else if control.is_closed {
            Some("the log is closed".to_owned())
        } else {
            Some("the disk has not answered yet".to_owned())
        };
        problem.map_or(Ok(()), |problem| Err(AuditError::NotWritten { problem }))
    }

    /// Closes the log for all clones: what was recorded is written and sealed, and the directory is free
    /// for another. What is recorded later is lost. Closing a closed log does nothing.
    ///
    /// # Errors
    /// `audit/not-written` if that failed, or took longer than 30 s.
    pub fn close(&self) -> Result<(), AuditError> {
        self.handle.close()
    }

    /// How often writing failed since the log was opened.
    pub fn failures(&self) -> u64 {
        self.handle.shared.failures.load(Ordering::Relaxed)
    }

    /// What the system said the last time that writing failed.
    pub fn last_error(&self) -> Option<String> {
        lock_of(&self.handle.shared.control).last_error.clone()
    }

    /// Where the log is.
    pub fn directory(&self) -> &Path {
        &self.handle.directory
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditLog({})", self.handle.directory.display())
    }
}

impl AuditSink for AuditLog {
    fn record(&self, mut event: AuditEvent) {
        shape::cut(&mut event);
        let shared = &self.handle.shared;
        let answer = lock_of(&shared.rates).admit(&event, Instant::now());
        match answer {
            Answer::Keep => {
                if self.handle.queue.try_send(Message::Event(Box::new(event))).is_err() {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Answer::Counted { first: true } => self.handle.wake(),
            Answer::Counted { first: false } => {}
        }
    }
}

impl Handle {
    /// A writer whose queue is full is awake.
    fn wake(&self) {
        let _ = self.queue.try_send(Message::Wake);
    }

    fn close(&self) -> Result<(), AuditError> {
        lock_of(&self.shared.control).is_closing = true;
        self.wake();
        let control = self.shared.wait(|control| !control.is_closed);
        let problem = match control.is_closed {
            true => control.answer.clone(),
            false => Some("the disk has not answered yet".to_owned()),
        };
        problem.map_or(Ok(()), |problem| Err(AuditError::NotWritten { problem }))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.close();
    }
}

impl Shared {
    /// How often someone asked to have everything on disk, and whether the log is to be closed.
    pub(super) fn asked(&self) -> (u64, bool) {
        let control = lock_of(&self.control);
        (control.asked, control.is_closing)
    }

    pub(super) fn answer(&self, asked: u64, stored: io::Result<()>) {
        let mut control = lock_of(&self.control);
        control.answered = asked;
        control.answer = stored.err().map(|error| error.to_string());
        self.changed.notify_all();
    }

    pub(super) fn failed(&self, error: &io::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        lock_of(&self.control).last_error = Some(error.to_string());
    }

    pub(super) fn has_folded(&self) -> bool {
        lock_of(&self.rates).has_folded()
    }

    pub(super) fn take_folded(&self) -> Vec<Folded> {
        lock_of(&self.rates).take_folded()
    }

    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    fn wait(&self, until: impl Fn(&Control) -> bool) -> MutexGuard<'_, Control> {
        let control = lock_of(&self.control);
        let waited = self.changed.wait_timeout_while(control, WAIT_MAX, |control| until(control));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Releases the directory, and tells those who wait that the writer has ended, however it did.
struct Closes {
    shared: Arc<Shared>,
    _lock: File,
}

impl Drop for Closes {
    fn drop(&mut self) {
        let _ = self._lock.unlock();
        lock_of(&self.shared.control).is_closed = true;
        self.shared.changed.notify_all();
    }
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What plugins tried is for the operator alone.
fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// One host at a time. Whoever only reads does not ask.
fn lock(directory: &Path) -> Result<File, AuditError> {
    let path = directory.join(files::LOCK);
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    owner_only(&mut options);
    let file = options.open(&path).map_err(|error| AuditError::storage(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::InUse { directory: shown(directory) }),
        Err(TryLockError::Error(error)) => Err(AuditError::storage(&path, error)),
    }
}

/// The key of the log; made where the log begins. The lock is held.
fn key(directory: &Path) -> Result<SigningKey, AuditError> {
    let storage = |error| AuditError::storage(directory, error);
    let of_key = |source| AuditError::Key { source };
    let path = directory.join(files::KEY);
    if !path.exists() {
        if !log_files(directory).map_err(storage)?.is_empty() {
            return Err(AuditError::KeyMissing { directory: shown(directory) });
        }
        // Under its name it is whole, or not there.
        let unfinished = directory.join(".audit.key.new");
        let _ = fs::remove_file(&unfinished);
        SigningKey::generate().and_then(|key| key.write_new(&unfinished)).map_err(of_key)?;
        fs::rename(&unfinished, &path).map_err(storage)?;
    }
    let key = SigningKey::read(&path).map_err(of_key)?;
    let path = directory.join(files::PUBLIC_KEY);
    match PublicKey::read(&path) {
        Ok(public) if public == key.public() => {}
        Ok(_) => return Err(AuditError::KeyMismatch { directory: shown(directory) }),
        Err(SignError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let unfinished = directory.join(".audit.pub.new");
            fs::write(&unfinished, format!("{}\n", key.public())).map_err(storage)?;
            fs::rename(&unfinished, &path).map_err(storage)?;
        }
        Err(source) => return Err(of_key(source)),
    }
    sync_directory(directory).map_err(storage)?;
    Ok(key)
}
