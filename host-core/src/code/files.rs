//! Files in a directory that is the host's alone: read without trusting what is there, written whole or
//! not at all.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    time::{Duration, SystemTime},
};

/// What the names of files end in that are being written.
const UNFINISHED_SUFFIX: &str = ".tmp";
/// A file that takes longer is not being written any more: who began it is gone.
const UNFINISHED_MAX: Duration = Duration::from_secs(3600);

/// Makes `directory`, or sees that it is the host's alone.
pub(super) fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(directory)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(invalid("it belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(invalid("others may write to it: give it the mode 0700"));
        }
    }
    Ok(())
}

/// A regular file, open for reading.
pub(super) struct Opened {
    file: File,
    metadata: Metadata,
}

/// Opens a regular file. Follows no link, and waits for no pipe.
///
/// # Errors
/// Of the kind `InvalidData` if there is something, and it is not a regular file.
pub(super) fn open(path: &Path) -> io::Result<Opened> {
    let mut options = File::options();
    options.read(true);
    let file = open_here(&mut options, path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(invalid("it is not a regular file"));
    }
    Ok(Opened { file, metadata })
}

/// Opens a file to lock, and makes it if it is not there.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    open_here(&mut options, path)
}

fn open_here(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::{fs::OFlags, io::Errno};
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
        options.open(path).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => invalid("it is a link"),
            // A socket; a pipe that nobody reads.
            Some(Errno::NXIO) => invalid("it is not a regular file"),
            _ => error,
        })
    }
    #[cfg(not(unix))]
    {
        if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(invalid("it is not a regular file"));
        }
        options.open(path)
    }
}

pub(super) fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl Opened {
    /// All of the file, which may have `bytes_max` bytes.
    pub(super) fn read(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        if self.metadata.len() > bytes_max {
            return Err(invalid("it is too large"));
        }
        let length = self.metadata.len();
        let mut bytes = Vec::with_capacity(length as usize);
        // What others add meanwhile is not read; what they cut off is missed.
        (&self.file).take(length).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    /// That nobody else may read it.
    pub(super) fn check_private(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if self.metadata.uid() != rustix::process::geteuid().as_raw() {
                return Err(invalid("it belongs to another user"));
            }
            if self.metadata.mode() & 0o077 != 0 {
                return Err(invalid("others may read it"));
            }
        }
        Ok(())
    }

    /// Notes that the file was used just now, to `grain`.
    pub(super) fn touch(&self, grain: Duration) {
        let now = SystemTime::now();
        let used = self.metadata.modified().unwrap_or(now);
        if now.duration_since(used).is_ok_and(|ago| ago >= grain) {
            // Then it only is removed earlier.
            let _ = self.file.set_modified(now);
        }
    }
}

/// Writes a file that is the host's alone. At no time is there a part of it under this name, also if the
/// power fails.
pub(super) fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished =
        format!("{}-{:016x}{UNFINISHED_SUFFIX}", std::process::id(), fastrand::u64(..));
    let unfinished = directory.join(unfinished);
    let written = write_through(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, directory.join(name)))
        .and_then(|()| sync_directory(directory));
    if written.is_err() {
        // It is not there if the last step failed.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename lasts only when the directory is on disk, too.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(directory)?.sync_all(),
        false => Ok(()),
    }
}

/// A file in a directory.
pub(super) struct Listed {
    pub(super) path: std::path::PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

/// The regular files in `directory` whose names end in `suffix`.
pub(super) fn list(directory: &Path, suffix: &str) -> io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().ends_with(suffix.as_bytes()) {
            continue;
        }
        // It may be gone since: others remove files, too.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push(Listed { path: entry.path(), bytes: metadata.len(), modified });
        }
    }
    Ok(files)
}

/// Removes what was begun long ago and never finished.
pub(super) fn sweep(directory: &Path) -> io::Result<()> {
    for file in list(directory, UNFINISHED_SUFFIX)? {
        if file.modified.elapsed().is_ok_and(|age| age > UNFINISHED_MAX) {
            let _ = fs::remove_file(file.path);
        }
    }
    Ok(())
}

/// Removes whatever is there, except for a directory with something in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| fs::remove_dir(path).map_err(|_| error))
}
