//! What a guest holds.

use std::{fs::File, os::fd::OwnedFd, sync::Arc};

use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, ErrorCode};

use super::{OpenSlot, quota::Identity, sys::Outcome, view::Mount, walk::Dir};

/// A descriptor of `wasi:filesystem`.
#[derive(Debug)]
pub(super) enum Node {
    Dir(DirNode),
    File(Arc<OpenFile>),
}

/// An open directory.
#[derive(Debug)]
pub(super) struct DirNode {
    pub(super) dir: Dir,
    /// None for the root of the view, which is not open anywhere.
    pub(super) _slot: Option<OpenSlot>,
}

/// An open regular file. Streams of it keep it open.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: Arc<File>,
    pub(super) guest: Vec<String>,
    pub(super) mount: Arc<Mount>,
    pub(super) flags: DescriptorFlags,
    pub(super) identity: Identity,
    pub(super) _slot: OpenSlot,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Ok(root) = self.mount.root() {
            root.tree.closed(self.identity);
        }
    }
}

impl OpenFile {
    pub(super) fn must_read(&self) -> Outcome<()> {
        match self.flags.contains(DescriptorFlags::READ) {
            true => Ok(()),
            false => Err(ErrorCode::BadDescriptor),
        }
    }

    pub(super) fn must_write(&self) -> Outcome<()> {
        match self.flags.contains(DescriptorFlags::WRITE) {
            true => Ok(()),
            false => Err(ErrorCode::NotPermitted),
        }
    }
}

impl Node {
    pub(super) fn dir(&self) -> Outcome<&Dir> {
        match self {
            Self::Dir(node) => Ok(&node.dir),
            Self::File(_) => Err(ErrorCode::NotDirectory),
        }
    }

    pub(super) fn file(&self) -> Outcome<&Arc<OpenFile>> {
        match self {
            Self::File(file) => Ok(file),
            Self::Dir(_) => Err(ErrorCode::IsDirectory),
        }
    }

    /// What can be looked at without the guest's handle.
    pub(super) fn held(&self) -> Held {
        match self {
            Self::File(file) => Held::File(file.clone()),
            Self::Dir(node) => Held::Dir(node.dir.clone()),
        }
    }
}

/// A node that is held open while something is done with it.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Dir(Dir),
    File(Arc<OpenFile>),
}

impl Held {
    /// The directory's handle on the host, if it is anywhere.
    pub(super) fn place(&self) -> Option<&Arc<OwnedFd>> {
        match self {
            Self::Dir(dir) => dir.place.as_ref().map(|place| &place.fd),
            Self::File(_) => None,
        }
    }
}
