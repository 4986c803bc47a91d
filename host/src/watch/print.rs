//! What can be known of a plugin's files without reading them.

use std::{fs::Metadata, path::Path};

/// Of the files that make up a plugin: equal for as long as nobody writes to them, replaces them, or has a link
/// lead elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Print(pub(super) [Option<FileId>; 3]);

/// Which file it is, and as of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId([i128; 5]);

impl FileId {
    /// Of the file that a path leads to, links followed; nothing if there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self::from(&metadata))
    }

    #[cfg(test)]
    pub(super) fn made_up(number: i128) -> Self {
        Self([number; 5])
    }
}

#[cfg(unix)]
impl From<&Metadata> for FileId {
    fn from(file: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self([
            file.dev().into(),
            file.ino().into(),
            file.size().into(),
            ns(file.mtime(), file.mtime_nsec()),
            // Whoever copies times along with bytes changes this one.
            ns(file.ctime(), file.ctime_nsec()),
        ])
    }
}

#[cfg(not(unix))]
impl From<&Metadata> for FileId {
    fn from(file: &Metadata) -> Self {
        let since = |time: std::io::Result<std::time::SystemTime>| {
            let since = time.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            i128::try_from(since.as_nanos()).ok()
        };
        let (created, modified) = (since(file.created()), since(file.modified()));
        Self([0, created.unwrap_or(0), file.len().into(), modified.unwrap_or(0), 0])
    }
}
