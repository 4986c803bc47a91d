//! Listing directories, a few entries at a time.

use std::{
    collections::{BTreeSet, VecDeque},
    os::fd::AsFd,
};

use plugin_contract::FsAccess;
use rustix::fs::FileType;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry};

use super::look::type_of;
use crate::enforce::fs::{
    Inner, OpenFiles, OpenSlot,
    sys::{self, Outcome},
    walk::{Dir, Need, Place, shown},
};

/// Entries that are read at one time.
const BATCH: usize = 256;

/// A directory that is being listed.
#[derive(Debug)]
pub(in super::super) struct Listing {
    dir: Dir,
    entries: Option<rustix::fs::Dir>,
    /// Names that lead to trees and were not met yet.
    between: BTreeSet<String>,
    pub(in super::super) ready: VecDeque<DirectoryEntry>,
    _slot: Option<OpenSlot>,
}

impl Inner {
    /// Begins to list a directory.
    pub(in super::super) fn list(&self, mut dir: Dir, open: &OpenFiles) -> Outcome<Listing> {
        if let Some(place) = &dir.place {
            let need = Need::All(FsAccess::Read);
            self.follow_move("list", &mut dir.guest, place, None, need)?;
        }
        let mut listing = Listing {
            between: self.view.names_in(&dir.guest),
            dir,
            entries: None,
            ready: VecDeque::new(),
            _slot: None,
        };
        let Some(place) = &listing.dir.place else { return Ok(listing) };
        self.check("list", &listing.dir.guest, Need::All(FsAccess::Read))?;
        self.check_on_host("list", &listing.dir.guest, place.fd.as_fd(), None, FsAccess::Read)?;
        listing._slot = Some(open.take(self, &shown(&listing.dir.guest))?);
        let fd = sys::reopen_dir(place.fd.as_fd()).map_err(sys::code)?;
        listing.entries = Some(rustix::fs::Dir::new(fd).map_err(sys::code)?);
        Ok(listing)
    }
}

impl Listing {
    /// Reads on; leaves `ready` empty at the end.
    pub(in super::super) fn fill(mut self, inner: &Inner) -> Outcome<Self> {
        let Self { dir, entries, between, ready, .. } = &mut self;
        while let Some(reading) = entries
            && ready.len() < BATCH
        {
            let Some(entry) = reading.read() else {
                *entries = None;
                break;
            };
            let entry = entry.map_err(sys::code)?;
            // A name that is no text cannot be said to a guest.
            let Some(name) = sys::entry_name(entry.file_name()) else { continue };
            let leads_on = between.remove(name);
            let mut guest = dir.guest.clone();
            guest.push(name.to_owned());
            // What may not even be looked at is not named.
            if !leads_on && !inner.rules.rights(&guest).any() {
                continue;
            }
            let type_ = match entry.file_type() {
                _ if leads_on => DescriptorType::Directory,
                FileType::Unknown => seen_type(dir.place.as_ref(), name),
                known => type_of(known),
            };
            ready.push_back(DirectoryEntry { type_, name: name.to_owned() });
        }
        if entries.is_none() {
            let rest = std::mem::take(between).into_iter();
            ready
                .extend(rest.map(|name| DirectoryEntry { type_: DescriptorType::Directory, name }));
        }
        Ok(self)
    }
}

/// Asked of the system itself, where the directory does not tell.
fn seen_type(place: Option<&Place>, name: &str) -> DescriptorType {
    let stat = place.and_then(|place| sys::stat_at(place.fd.as_fd(), name).ok());
    stat.map_or(DescriptorType::Unknown, |stat| type_of(sys::file_type(&stat)))
}
