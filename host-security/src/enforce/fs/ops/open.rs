//! Opening, with all its flags.

use std::{os::fd::AsFd, sync::Arc};

use plugin_contract::FsAccess;
use rustix::{
    fs::{FileType, OFlags},
    io::Errno,
};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags};

use crate::enforce::fs::{
    Inner, OpenFiles,
    node::{DirNode, Node, OpenFile},
    sys::{self, Outcome},
    walk::{Asked, Dir, Named, Need, Place, TRIES, Target, shown},
};

/// What a guest wants to open, and how.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Opening {
    pub(in super::super) how: OpenFlags,
    pub(in super::super) flags: DescriptorFlags,
    pub(in super::super) follow: bool,
}

impl Opening {
    fn wants(&self, flag: OpenFlags) -> bool {
        self.how.contains(flag)
    }

    fn writes(&self) -> bool {
        self.flags.contains(DescriptorFlags::WRITE)
            || self.wants(OpenFlags::CREATE)
            || self.wants(OpenFlags::TRUNCATE)
    }

    fn reads(&self) -> bool {
        self.flags.contains(DescriptorFlags::READ) || !self.writes()
    }

    fn access(&self) -> FsAccess {
        match (self.reads(), self.writes()) {
            (true, true) => FsAccess::ReadWrite,
            (false, true) => FsAccess::Write,
            _ => FsAccess::Read,
        }
    }

    /// For the system. What it cannot say without reading, such as truncating, is done afterwards.
    fn system(&self) -> OFlags {
        let mut flags = match (self.reads(), self.writes()) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        if self.flags.contains(DescriptorFlags::FILE_INTEGRITY_SYNC) {
            flags |= OFlags::SYNC;
        }
        if self.flags.contains(DescriptorFlags::DATA_INTEGRITY_SYNC) {
            flags |= OFlags::DSYNC;
        }
        flags
    }

    /// As the guest is told, and held to.
    fn granted(&self) -> DescriptorFlags {
        let mut flags = self.flags & !(DescriptorFlags::READ | DescriptorFlags::WRITE);
        if self.reads() {
            flags |= DescriptorFlags::READ;
        }
        if self.writes() {
            flags |= DescriptorFlags::WRITE;
        }
        flags
    }
}

impl Inner {
    /// Opens a file or a directory.
    pub(in super::super) fn open(
        &self,
        start: &Dir,
        path: &str,
        opening: Opening,
        open: &OpenFiles,
    ) -> Outcome<Node> {
        let wants_dir = opening.wants(OpenFlags::DIRECTORY);
        if wants_dir && opening.writes() {
            return Err(ErrorCode::IsDirectory);
        }
        let (access, follow) = (Need::All(opening.access()), opening.follow);
        for _ in 0..TRIES {
            let asked = Asked { operation: "open", access, follow };
            let named = match self.walk(start, path, asked)? {
                Target::Dir(dir) => return self.opened_dir(dir, opening, open),
                Target::Name(named) => named,
            };
            let found = match sys::stat_at(named.parent(), &named.name) {
                Ok(stat) => sys::file_type(&stat),
                Err(Errno::NOENT) if opening.wants(OpenFlags::CREATE) && !named.must_be_dir => {
                    match self.create(&named, opening, open)? {
                        Some(file) => return Ok(Node::File(file)),
                        None => continue,
                    }
                }
                Err(error) => return Err(sys::code(error)),
            };
            return match found {
                _ if opening.wants(OpenFlags::EXCLUSIVE) && opening.wants(OpenFlags::CREATE) => {
                    Err(ErrorCode::Exist)
                }
                FileType::Directory => match sys::open_dir(named.parent(), &named.name) {
                    Ok(fd) => {
                        let Named { guest, parent, .. } = named;
                        let place = Place { fd: Arc::new(fd), mount: parent.mount };
                        self.opened_dir(Dir { guest, place: Some(place) }, opening, open)
                    }
                    Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT) => continue,
                    Err(error) => Err(sys::code(error)),
                },
                FileType::Symlink if follow => continue, // it was none a moment ago
                FileType::Symlink => Err(ErrorCode::Loop),
                _ if wants_dir || named.must_be_dir => Err(ErrorCode::NotDirectory),
                FileType::RegularFile => match self.open_regular(&named, opening, open) {
                    Err(ErrorCode::Loop | ErrorCode::NoEntry) => continue,
                    opened => opened.map(Node::File),
                },
                _ => Err(ErrorCode::Unsupported),
            };
        }
        // Someone keeps changing it.
        Err(ErrorCode::Busy)
    }

    fn opened_dir(&self, dir: Dir, opening: Opening, open: &OpenFiles) -> Outcome<Node> {
        if opening.writes() {
            return Err(match opening.wants(OpenFlags::EXCLUSIVE) {
                true => ErrorCode::Exist,
                false => ErrorCode::IsDirectory,
            });
        }
        let _slot = dir.place.as_ref().map(|_| open.take(self, &shown(&dir.guest))).transpose()?;
        Ok(Node::Dir(DirNode { dir, _slot }))
    }

    fn open_regular(
        &self,
        named: &Named,
        opening: Opening,
        open: &OpenFiles,
    ) -> Outcome<Arc<OpenFile>> {
        let slot = open.take(self, &shown(&named.guest))?;
        let file = sys::open_file(named.parent(), &named.name, opening.system(), false);
        let file = self.keep(named, file.map_err(sys::code)?, opening, slot)?;
        if opening.wants(OpenFlags::TRUNCATE) {
            self.set_len(&file, 0)?;
        }
        Ok(file)
    }

    /// Makes a new file; `None` if one has just come into being.
    fn create(
        &self,
        named: &Named,
        opening: Opening,
        open: &OpenFiles,
    ) -> Outcome<Option<Arc<OpenFile>>> {
        let slot = open.take(self, &shown(&named.guest))?;
        let mount = &named.parent.mount;
        let made = {
            let mut counting = mount.root()?.tree.count(mount.room);
            self.check_reach("create", named)?;
            counting.check(0, 1).map_err(|_| self.full("create", &named.guest, mount))?;
            let made = sys::open_file(named.parent(), &named.name, opening.system(), true);
            if made.is_ok() {
                counting.added();
            }
            made
        };
        match made {
            Ok(file) => self.keep(named, file, opening, slot).map(Some),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(sys::code(error)),
        }
    }

    fn keep(
        &self,
        named: &Named,
        file: std::fs::File,
        opening: Opening,
        _slot: super::super::OpenSlot,
    ) -> Outcome<Arc<OpenFile>> {
        // Asked again after it was opened: its directory may have been moved since it was asked before.
        let (mut guest, need) = (named.guest.clone(), Need::All(opening.access()));
        self.follow_move("open", &mut guest, &named.parent, Some(&named.name), need)?;
        let identity = sys::identity(&sys::stat(file.as_fd()).map_err(sys::code)?);
        let mount = named.parent.mount.clone();
        mount.root()?.tree.opened(identity);
        let flags = opening.granted();
        Ok(Arc::new(OpenFile { file: Arc::new(file), guest, mount, flags, identity, _slot }))
    }

    /// Gives an open file another size, within the quota.
    pub(in super::super) fn set_len(&self, file: &OpenFile, len: u64) -> Outcome<()> {
        file.must_write()?;
        let root = file.mount.root()?;
        let done = root.tree.count(file.mount.room).set_len(&file.file, len);
        done.map_err(|error| self.not_written("resize", file, error))
    }

    /// What to say of a write that failed.
    pub(in super::super) fn not_written(
        &self,
        operation: &str,
        file: &OpenFile,
        error: std::io::Error,
    ) -> ErrorCode {
        match error.raw_os_error() {
            Some(raw) if raw == Errno::NOSPC.raw_os_error() => {
                self.full(operation, &file.guest, &file.mount)
            }
            _ => sys::code(error),
        }
    }
}
