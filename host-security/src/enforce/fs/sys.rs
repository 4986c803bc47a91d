//! The system's calls, one component at a time.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use super::quota::Identity;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawMode, Stat},
    io::Errno,
};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

pub(super) type Outcome<T> = Result<T, ErrorCode>;

/// What the system said, as WASI says it.
pub(super) fn code(error: impl Into<io::Error>) -> ErrorCode {
    let error = error.into();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // What the bindings know no words for.
        Some(Errno::DQUOT) => ErrorCode::Quota,
        Some(Errno::ROFS) => ErrorCode::ReadOnly,
        Some(Errno::TXTBSY) => ErrorCode::TextFileBusy,
        Some(Errno::XDEV) => ErrorCode::CrossDevice,
        _ => ErrorCode::from(error),
    }
}

#[cfg(target_os = "linux")]
const JUST_THE_PLACE: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const JUST_THE_PLACE: OFlags = OFlags::RDONLY;

/// Opens the directory `name` of `parent`, to go on from. A link is not followed: that is `NotDirectory`
/// or `Loop`.
pub(super) fn open_dir(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = JUST_THE_PLACE | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a directory of the host by a path its operator wrote.
pub(super) fn open_root(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    let flags = JUST_THE_PLACE | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// The same directory once more, to be listed.
pub(super) fn reopen_dir(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c".", flags, Mode::empty())
}

/// Opens the regular file `name` of `parent`. Never waits for a pipe, and never has an effect on a device:
/// what is there is looked at before, and what was opened is looked at again.
pub(super) fn open_file(
    parent: BorrowedFd<'_>,
    name: &str,
    access: OFlags,
    create_new: bool,
) -> Result<File, Errno> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if create_new {
        let flags = flags | OFlags::CREATE | OFlags::EXCL;
        return rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o666)).map(File::from);
    }
    is_regular(&stat_at(parent, name)?)?;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    is_regular(&rustix::fs::fstat(&file)?)?;
    Ok(File::from(file))
}

fn is_regular(stat: &Stat) -> Result<(), Errno> {
    match file_type(stat) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        FileType::Symlink => Err(Errno::LOOP),
        // A pipe, a socket or a device: not a file that a plugin may have.
        _ => Err(Errno::NOTSUP),
    }
}

/// What `name` in `parent` is, links not followed.
pub(super) fn stat_at(parent: BorrowedFd<'_>, name: &str) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn stat(file: impl AsFd) -> Result<Stat, Errno> {
    rustix::fs::fstat(file)
}

/// Device and inode.
#[expect(clippy::unnecessary_cast, reason = "the fields have other types on other systems")]
pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev as u64, stat.st_ino as u64)
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode as RawMode)
}

/// Where a link leads.
pub(super) fn read_link(parent: BorrowedFd<'_>, name: &str) -> Outcome<String> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new()).map_err(code)?;
    target.into_string().map_err(|_| ErrorCode::IllegalByteSequence)
}

/// The path of what is open, as the system knows it now. `None` where it does not tell.
pub(super) fn real_path(open: BorrowedFd<'_>) -> Option<PathBuf> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        std::fs::read_link(format!("/proc/self/fd/{}", open.as_raw_fd())).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = open;
        None
    }
}

/// A name in a directory, if it is one that guests can say.
pub(super) fn entry_name(name: &CStr) -> Option<&str> {
    name.to_str().ok().filter(|name| !matches!(*name, "." | ".."))
}
