//! Looking at what is there, and its timestamps.

use std::os::fd::AsFd;

use plugin_contract::FsAccess;
use rustix::fs::{AtFlags, FileType, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use wasmtime_wasi::p2::bindings::{
    clocks::wall_clock::Datetime,
    filesystem::types::{
        DescriptorStat, DescriptorType, ErrorCode, MetadataHashValue, NewTimestamp,
    },
};

use crate::enforce::fs::{
    Inner,
    node::Held,
    sys::{self, Outcome},
    walk::{Asked, Dir, Need, Target},
};

/// Timestamps to be set.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Times {
    pub(in super::super) access: NewTimestamp,
    pub(in super::super) modification: NewTimestamp,
}

impl Inner {
    /// What an open file or directory is.
    pub(in super::super) fn stat(&self, held: &Held) -> Outcome<DescriptorStat> {
        Ok(match self.stat_held(held)? {
            Some(stat) => described(&stat),
            None => between(),
        })
    }

    /// What a path names.
    pub(in super::super) fn stat_at(
        &self,
        start: &Dir,
        path: &str,
        follow: bool,
    ) -> Outcome<DescriptorStat> {
        Ok(match self.find(start, path, follow)? {
            Some(stat) => described(&stat),
            None => between(),
        })
    }

    /// Tells one file from another: the same for two handles of one file.
    pub(in super::super) fn hash(&self, held: &Held) -> Outcome<MetadataHashValue> {
        Ok(hashed(self.stat_held(held)?.as_ref(), held))
    }

    /// The same, for a path.
    pub(in super::super) fn hash_at(
        &self,
        start: &Dir,
        path: &str,
        follow: bool,
    ) -> Outcome<MetadataHashValue> {
        let found = self.find(start, path, follow)?;
        Ok(hashed(found.as_ref(), &Held::Dir(start.clone())))
    }

    fn stat_held(&self, held: &Held) -> Outcome<Option<Stat>> {
        let stat = match (held, held.place()) {
            (Held::File(file), _) => sys::stat(file.file.as_fd()),
            (Held::Dir(_), Some(fd)) => sys::stat(fd.as_fd()),
            (Held::Dir(_), None) => return Ok(None),
        };
        stat.map(Some).map_err(sys::code)
    }

    /// `None`: a directory that is nowhere on the host.
    fn find(&self, start: &Dir, path: &str, follow: bool) -> Outcome<Option<Stat>> {
        // Who may write may know what is there, or it could not write well.
        let asked = Asked { operation: "stat", access: Need::Any, follow };
        match self.walk(start, path, asked)? {
            Target::Dir(dir) => self.stat_held(&Held::Dir(dir)),
            Target::Name(named) => {
                let stat = sys::stat_at(named.parent(), &named.name).map_err(sys::code)?;
                if named.must_be_dir && sys::file_type(&stat) != FileType::Directory {
                    return Err(ErrorCode::NotDirectory);
                }
                Ok(Some(stat))
            }
        }
    }

    /// Where a link leads, as it says.
    pub(in super::super) fn read_link(&self, start: &Dir, path: &str) -> Outcome<String> {
        let access = Need::All(FsAccess::Read);
        let asked = Asked { operation: "readlink", access, follow: false };
        match self.walk(start, path, asked)? {
            Target::Dir(_) => Err(ErrorCode::Invalid),
            Target::Name(named) if named.must_be_dir => Err(ErrorCode::Invalid),
            Target::Name(named) => {
                let target = sys::read_link(named.parent(), &named.name)?;
                match target.starts_with('/') {
                    // It would tell of the host's directories.
                    true => Err(self.refuse_outright(
                        "readlink",
                        &super::super::walk::shown(&named.guest),
                        "it is a link to an absolute path",
                    )),
                    false => Ok(target),
                }
            }
        }
    }

    /// Sets the timestamps of what is open.
    pub(in super::super) fn set_times(&self, held: &Held, times: Times) -> Outcome<()> {
        let timestamps = times.system()?;
        match held {
            Held::File(file) => {
                file.must_write()?;
                rustix::fs::futimens(file.file.as_fd(), &timestamps).map_err(sys::code)
            }
            Held::Dir(dir) => self.set_dir_times(dir, &timestamps),
        }
    }

    fn set_dir_times(&self, dir: &Dir, timestamps: &Timestamps) -> Outcome<()> {
        let (operation, need) = ("set-times", Need::All(FsAccess::Write));
        self.check(operation, &dir.guest, need)?;
        let place = dir.place.as_ref().ok_or(ErrorCode::NotPermitted)?;
        self.follow_move(operation, &mut dir.guest.clone(), place, None, need)?;
        let set = rustix::fs::utimensat(place.fd.as_fd(), c".", timestamps, AtFlags::empty());
        set.map_err(sys::code)
    }

    /// Sets the timestamps of what a path names.
    pub(in super::super) fn set_times_at(
        &self,
        start: &Dir,
        path: &str,
        follow: bool,
        times: Times,
    ) -> Outcome<()> {
        let timestamps = times.system()?;
        let access = Need::All(FsAccess::Write);
        match self.walk(start, path, Asked { operation: "set-times", access, follow })? {
            Target::Dir(dir) => self.set_dir_times(&dir, &timestamps),
            Target::Name(named) => {
                let is_dir = || {
                    sys::stat_at(named.parent(), &named.name)
                        .is_ok_and(|stat| sys::file_type(&stat) == FileType::Directory)
                };
                if named.must_be_dir && !is_dir() {
                    return Err(ErrorCode::NotDirectory);
                }
                let (parent, name) = (named.parent(), named.name.as_str());
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(parent, name, &timestamps, flags).map_err(sys::code)
            }
        }
    }
}

impl Times {
    fn system(self) -> Outcome<Timestamps> {
        let one = |time: NewTimestamp| match time {
            NewTimestamp::NoChange => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }),
            NewTimestamp::Now => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }),
            NewTimestamp::Timestamp(Datetime { seconds, nanoseconds }) => {
                if nanoseconds >= 1_000_000_000 {
                    return Err(ErrorCode::Invalid);
                }
                let tv_sec = i64::try_from(seconds).map_err(|_| ErrorCode::Overflow)?;
                Ok(Timespec { tv_sec, tv_nsec: nanoseconds.into() })
            }
        };
        Ok(Timestamps {
            last_access: one(self.access)?,
            last_modification: one(self.modification)?,
        })
    }
}

pub(super) fn type_of(file_type: FileType) -> DescriptorType {
    match file_type {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::Unknown => DescriptorType::Unknown,
    }
}

#[expect(clippy::unnecessary_cast, reason = "the fields have other types on other systems")]
fn described(stat: &Stat) -> DescriptorStat {
    // A time before 1970 has no words in WASI.
    let time = |seconds: i64, nanoseconds| {
        u64::try_from(seconds).ok().map(|seconds| Datetime { seconds, nanoseconds })
    };
    DescriptorStat {
        type_: type_of(sys::file_type(stat)),
        link_count: stat.st_nlink as u64,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        data_access_timestamp: time(stat.st_atime as i64, stat.st_atime_nsec as u32),
        data_modification_timestamp: time(stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        status_change_timestamp: time(stat.st_ctime as i64, stat.st_ctime_nsec as u32),
    }
}

/// A directory between trees.
fn between() -> DescriptorStat {
    DescriptorStat {
        type_: DescriptorType::Directory,
        link_count: 1,
        size: 0,
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    }
}

fn hashed(stat: Option<&Stat>, held: &Held) -> MetadataHashValue {
    let text = match (stat, held) {
        (Some(stat), _) => format!("{:?}", sys::identity(stat)),
        (None, Held::Dir(dir)) => dir.guest.join("/"),
        (None, Held::File(file)) => format!("{:?}", file.identity),
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let half = |at: usize| {
        let bytes = digest.as_ref()[at..at + 8].try_into();
        u64::from_le_bytes(bytes.expect("eight bytes are eight bytes"))
    };
    MetadataHashValue { lower: half(0), upper: half(8) }
}
