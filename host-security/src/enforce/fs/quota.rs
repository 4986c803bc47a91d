//! How much a tree on the host holds, and may hold.
//!
//! A tree is counted once, when it is first written to, and from then on by what guests do to it. All
//! plugins that write one tree share the count. Where a limit is reached the tree is counted anew, for the
//! host's own hands may have made room.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// The trees that are being counted, by their path on the host.
#[derive(Debug, Clone, Default)]
pub(super) struct Trees {
    known: Arc<Mutex<HashMap<PathBuf, Weak<Tree>>>>,
}

impl Trees {
    /// The tree at `root`, which is canonical.
    pub(super) fn at(&self, root: &Path) -> Arc<Tree> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = known.get(root).and_then(Weak::upgrade) {
            return tree;
        }
        known.retain(|_, tree| tree.strong_count() > 0);
        let tree = Tree { root: root.to_owned(), held: Mutex::default(), closed: Mutex::default() };
        let tree = Arc::new(tree);
        known.insert(root.to_owned(), Arc::downgrade(&tree));
        tree
    }
}

/// How much one tree holds.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    held: Mutex<Held>,
    /// Files that were closed and not told to `held` yet: whoever closes one does not wait for those who
    /// count or write meanwhile.
    closed: Mutex<Vec<Identity>>,
}

/// What a tree may hold at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// The tree would hold more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The count, and the right to change it: whoever holds this is alone in changing sizes and names.
pub(super) struct Counting<'a> {
    tree: &'a Tree,
    held: MutexGuard<'a, Held>,
    room: Room,
}

#[derive(Debug, Default)]
struct Held {
    counted: Option<Instant>,
    /// How long that took.
    took: Duration,
    bytes: u64,
    entries: u64,
    /// Files that guests hold open: what has no name any more still takes its bytes.
    open: HashMap<Identity, OpenFile>,
}

/// Device and inode.
pub(super) type Identity = (u64, u64);

#[derive(Debug, Default)]
struct OpenFile {
    handles: u32,
    nameless: bool,
    bytes: u64,
}

/// How long a count is good before reaching the limit asks for another.
const COUNT_AGAIN: Duration = Duration::from_secs(1);

/// Most entries that are counted. A tree with more is full for every plugin.
const COUNTED_MAX: u64 = 1_000_000;

impl Tree {
    /// Begins to change the tree.
    pub(super) fn count(&self, room: Room) -> Counting<'_> {
        let mut held = self.lock();
        if held.counted.is_none() {
            held.count(&self.root);
        }
        Counting { tree: self, held, room }
    }

    /// A file was opened.
    pub(super) fn opened(&self, file: Identity) {
        self.lock().open.entry(file).or_default().handles += 1;
    }

    /// A file was closed; what it held without a name is free when the tree is next changed. Does not
    /// block.
    pub(super) fn closed(&self, file: Identity) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let closed =
            std::mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner));
        closed.into_iter().for_each(|file| held.close(file));
        held
    }
}

impl Held {
    fn close(&mut self, file: Identity) {
        let Some(open) = self.open.get_mut(&file) else { return };
        open.handles = open.handles.saturating_sub(1);
        if open.handles > 0 {
            return;
        }
        if let Some(open) = self.open.remove(&file).filter(|open| open.nameless) {
            self.bytes = self.bytes.saturating_sub(open.bytes);
        }
    }

    fn count(&mut self, root: &Path) {
        let began = Instant::now();
        (self.bytes, self.entries) = measure(root);
        self.took = began.elapsed();
        let nameless = self.open.values().filter(|open| open.nameless);
        let nameless: u64 = nameless.map(|open| open.bytes).sum();
        self.bytes = self.bytes.saturating_add(nameless);
        self.counted = Some(Instant::now());
    }
}

impl Counting<'_> {
    /// Whether this much more fits; counts anew before it says no.
    pub(super) fn check(&mut self, bytes: u64, entries: u64) -> Result<(), Full> {
        let fits = |held: &Held, room: Room| {
            let bytes_fit = bytes == 0
                || held.bytes.checked_add(bytes).is_some_and(|bytes| bytes <= room.bytes);
            bytes_fit && (entries == 0 || held.entries.saturating_add(entries) <= room.entries)
        };
        if fits(&self.held, self.room) {
            return Ok(());
        }
        // A large tree is not counted all the time because someone keeps asking.
        let good_for = COUNT_AGAIN.max(self.held.took * 20);
        if self.held.counted.is_none_or(|counted| counted.elapsed() >= good_for) {
            self.held.count(&self.tree.root);
        }
        if fits(&self.held, self.room) { Ok(()) } else { Err(Full) }
    }

    /// An entry was made.
    pub(super) fn added(&mut self) {
        self.held.entries += 1;
    }

    /// An entry is gone. `last` is the file, with its size, if that was its last name.
    pub(super) fn removed(&mut self, last: Option<(Identity, u64)>) {
        self.held.entries = self.held.entries.saturating_sub(1);
        let Some((file, bytes)) = last else { return };
        match self.held.open.get_mut(&file) {
            Some(open) => (open.nameless, open.bytes) = (true, bytes),
            None => self.held.bytes = self.held.bytes.saturating_sub(bytes),
        }
    }

    /// A file went from one size to another.
    pub(super) fn resized(&mut self, file: Identity, from: u64, to: u64) {
        self.held.bytes = self.held.bytes.saturating_sub(from).saturating_add(to);
        if let Some(open) = self.held.open.get_mut(&file) {
            open.bytes = to;
        }
    }

    /// Changes a file's size, if the tree has room.
    pub(super) fn set_len(&mut self, file: &File, len: u64) -> io::Result<()> {
        let before = file.metadata()?;
        self.check(len.saturating_sub(before.len()), 0)?;
        file.set_len(len)?;
        self.resized((before.dev(), before.ino()), before.len(), len);
        Ok(())
    }

    /// Writes all of `bytes` at `offset`, or at the end, if the tree has room for them; where they ended.
    pub(super) fn write(
        &mut self,
        file: &File,
        bytes: &[u8],
        offset: Option<u64>,
    ) -> io::Result<u64> {
        use std::os::unix::fs::FileExt;
        let before = file.metadata()?;
        let offset = offset.unwrap_or(before.len());
        let end = offset.checked_add(bytes.len() as u64).ok_or(rustix::io::Errno::FBIG)?;
        self.check(end.saturating_sub(before.len()), 0)?;
        let written = file.write_all_at(bytes, offset);
        // Also after a failure: some of it may be there.
        let after = file.metadata()?;
        self.resized((before.dev(), before.ino()), before.len(), after.len());
        written.map(|()| end)
    }
}

impl From<Full> for io::Error {
    fn from(_: Full) -> Self {
        rustix::io::Errno::NOSPC.into()
    }
}

/// Bytes of files, and entries, beneath `root`, or of the one file that it is. Links are not followed; what
/// cannot be read is not there.
fn measure(root: &Path) -> (u64, u64) {
    if let Ok(metadata) = std::fs::symlink_metadata(root)
        && metadata.is_file()
    {
        return (metadata.len(), 1);
    }
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(found) = std::fs::read_dir(&directory) else { continue };
        for entry in found.flatten() {
            entries += 1;
            if entries >= COUNTED_MAX {
                return (u64::MAX, u64::MAX);
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.is_file() {
                bytes = bytes.saturating_add(metadata.len());
            }
        }
    }
    (bytes, entries)
}
