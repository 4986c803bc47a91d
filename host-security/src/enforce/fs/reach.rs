//! How far from the beginning of its tree a name may be on the host.
//!
//! A guest may hold a directory that it has moved since, and make names in it: the path that it says tells
//! nothing of how deep they really are. So the place itself is asked, whenever a name is made or moved, and
//! a tree stays one that can be counted, searched for denies, and removed again.

use std::path::{Path, PathBuf};

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::{
    Inner,
    sys::{self, Outcome},
    walk::{DEPTH_MAX, Named, shown},
};

/// Longest path of the host to something in a tree, in bytes: longer ones the system does not take.
const BYTES_MAX: usize = 4095;

/// Most entries of a directory that is to be moved further away. A larger one stays where it is.
const ENTRIES_MAX: usize = 100_000;

/// Where a name is on the host.
struct Spot {
    path: PathBuf,
    /// Components from the beginning of the tree.
    depth: usize,
}

impl Inner {
    /// Refuses to make a name that is too far away.
    pub(super) fn check_reach(&self, operation: &str, named: &Named) -> Outcome<()> {
        match spot(named) {
            Ok(Some(spot)) if !spot.takes(0, 0) => Err(self.too_far(operation, named)),
            Ok(_) => Ok(()),
            Err(TooLong) => Err(self.too_far(operation, named)),
        }
    }

    /// Refuses to move a name, or what is within, too far away.
    pub(super) fn check_moved_reach(
        &self,
        operation: &str,
        old: &Named,
        new: &Named,
        is_dir: bool,
    ) -> Outcome<()> {
        self.check_reach(operation, new)?;
        let (Ok(Some(from)), Ok(Some(to))) = (spot(old), spot(new)) else { return Ok(()) };
        let is_nearer = to.depth <= from.depth && to.bytes() <= from.bytes();
        if !is_dir || is_nearer {
            return Ok(());
        }
        match extent(&from.path) {
            Some((depth, bytes)) if to.takes(depth, bytes) => Ok(()),
            _ => Err(self.too_far(operation, new)),
        }
    }

    fn too_far(&self, operation: &str, named: &Named) -> ErrorCode {
        let rule = format!(
            "a tree is at most {DEPTH_MAX} directories deep, and its paths on the host at most \
             {BYTES_MAX} bytes long"
        );
        self.exceeded_quota(operation, &shown(&named.guest), &rule);
        ErrorCode::NameTooLong
    }
}

/// The path is longer than the system can say.
struct TooLong;

/// `None` where the system does not tell.
fn spot(named: &Named) -> Result<Option<Spot>, TooLong> {
    let Some(parent) = sys::real_path(named.parent()) else {
        return if cfg!(target_os = "linux") { Err(TooLong) } else { Ok(None) };
    };
    let mount = &named.parent.mount;
    let beneath = mount.root().ok().and_then(|root| parent.strip_prefix(&root.real).ok());
    let depth = match beneath {
        Some(beneath) => beneath.components().count(),
        // The tree is not where it was found: what the guest says is all there is.
        None => named.guest.len().saturating_sub(mount.guest.len() + 1),
    };
    Ok(Some(Spot { path: parent.join(&named.name), depth: depth + 1 }))
}

impl Spot {
    fn bytes(&self) -> usize {
        self.path.as_os_str().len()
    }

    /// Whether there may be something so many components and bytes further on.
    fn takes(&self, depth: usize, bytes: usize) -> bool {
        self.depth + depth <= DEPTH_MAX && self.bytes() + bytes <= BYTES_MAX
    }
}

/// How many components, and bytes, the furthest of what is in a directory is away from it. `None` if there
/// is too much in it to look. Links are not followed.
fn extent(root: &Path) -> Option<(usize, usize)> {
    let (mut depth, mut bytes, mut entries) = (0, 0, 0);
    let mut directories = vec![(root.to_owned(), 0)];
    while let Some((directory, level)) = directories.pop() {
        // What cannot be read was not made by a guest.
        let Ok(found) = std::fs::read_dir(&directory) else { continue };
        for entry in found.flatten() {
            entries += 1;
            if entries > ENTRIES_MAX {
                return None;
            }
            let path = entry.path();
            depth = depth.max(level + 1);
            bytes = bytes.max(path.as_os_str().len().saturating_sub(root.as_os_str().len()));
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push((path, level + 1));
            }
        }
    }
    Some((depth, bytes))
}
