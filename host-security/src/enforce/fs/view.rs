//! Where granted trees are on the host, and the directories between them that are nowhere.

use std::{
    collections::BTreeSet,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use plugin_contract::FsAccess;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::{
    quota::{Room, Tree, Trees},
    sys::{self, Outcome},
    walk::Named,
};
use crate::{DATA_DIR, Grant};

/// The trees of one plugin.
#[derive(Debug)]
pub(super) struct View {
    mounts: Vec<Arc<Mount>>,
    denied: Vec<DeniedPlace>,
    /// The plugin may have a private directory, and the host keeps none.
    keeps_no_data: bool,
}

/// A tree of the plugin's view, and where it is.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) guest: Vec<String>,
    host: PathBuf,
    /// Made when it is first asked for, if it is not there.
    make: bool,
    pub(super) room: Room,
    trees: Trees,
    /// Held open from when it was first found: whoever moves it, or puts a link in its place, changes
    /// nothing for the plugin.
    root: OnceLock<Root>,
}

/// What a mount was found to be.
#[derive(Debug)]
pub(super) struct Root {
    /// The directory: of the tree, or around the file.
    dir: Arc<OwnedFd>,
    /// If the grant is about one file: its name in the directory.
    pub(super) file: Option<String>,
    pub(super) tree: Arc<Tree>,
    /// Where it is, as it was found.
    pub(super) real: PathBuf,
}

/// A place on the host that a deny is about.
#[derive(Debug)]
struct DeniedPlace {
    access: FsAccess,
    mount: usize,
    beneath: Vec<String>,
}

/// What there is at a path of the plugin's view that is no file of the host's.
pub(super) enum Spot {
    /// A tree begins here.
    Mount(Arc<Mount>),
    /// A directory that leads to trees, and is nowhere on the host.
    Between,
    /// Nothing that the plugin was granted.
    Outside,
}

impl View {
    pub(super) fn new(grant: &Grant, data_dir: Option<PathBuf>, trees: &Trees) -> Self {
        let limits = grant.limits();
        let mount = |guest: Vec<String>, host: PathBuf, make, room| {
            let (trees, root) = (trees.clone(), OnceLock::new());
            Arc::new(Mount { guest, host, make, room, trees, root })
        };
        let room = Room { bytes: limits.write_bytes, entries: limits.write_files };
        let mut mounts: Vec<Arc<Mount>> = (grant.mounts().iter())
            .map(|granted| mount(granted.guest.parts().to_vec(), granted.host.clone(), false, room))
            .collect();
        let keeps_no_data = grant.has_data_dir() && data_dir.is_none();
        if let Some(host) = data_dir {
            let room = Room { bytes: limits.data_bytes, entries: limits.data_files };
            let guest = vec![DATA_DIR.trim_start_matches('/').to_owned()];
            mounts.push(mount(guest, host, true, room));
        }
        let denied = grant.fs().denied().filter_map(|deny| {
            let around = mounts.iter().enumerate().filter(|(_, m)| deny.path.starts_with(&m.guest));
            let (mount, found) = around.max_by_key(|(_, mount)| mount.guest.len())?;
            let beneath = deny.path[found.guest.len()..].to_vec();
            Some(DeniedPlace { access: deny.access, mount, beneath })
        });
        let denied = denied.collect();
        let view = Self { mounts, denied, keeps_no_data };
        // Found now if they are there: what is put in their place later is not what was granted.
        for mount in view.mounts.iter().filter(|mount| !mount.make) {
            let _ = mount.root();
        }
        view
    }

    /// What is at `path`.
    pub(super) fn spot(&self, path: &[String]) -> Spot {
        if let Some(mount) = self.mounts.iter().find(|mount| mount.guest == path) {
            return Spot::Mount(mount.clone());
        }
        match path.is_empty() || self.leads_to_mount(path) {
            true => Spot::Between,
            false => Spot::Outside,
        }
    }

    /// Whether `path` is the private directory of a host that keeps none: the plugin's rights there are not
    /// about what the host has under that name.
    pub(super) fn is_missing(&self, path: &[String]) -> bool {
        self.keeps_no_data && matches!(path, [name] if *name == DATA_DIR.trim_start_matches('/'))
    }

    /// Whether a tree begins strictly beneath `path`.
    pub(super) fn leads_to_mount(&self, path: &[String]) -> bool {
        self.mounts
            .iter()
            .any(|mount| mount.guest.len() > path.len() && mount.guest.starts_with(path))
    }

    /// The names in a directory `path` that lead to trees.
    pub(super) fn names_in(&self, path: &[String]) -> BTreeSet<String> {
        let beneath = self.mounts.iter().filter(|mount| mount.guest.starts_with(path));
        beneath.filter_map(|mount| mount.guest.get(path.len()).cloned()).collect()
    }

    /// Whether a directory, or the name in it, is, on the host, at a place that a deny is about: two paths
    /// of the view may lead to one place.
    pub(super) fn is_denied_on_host(
        &self,
        directory: BorrowedFd<'_>,
        name: Option<&str>,
        access: FsAccess,
    ) -> bool {
        let denies =
            |deny: FsAccess| (deny.reads() && access.reads()) || (deny.writes() && access.writes());
        if !self.denied.iter().any(|place| denies(place.access)) {
            return false;
        }
        // A path too long to be told may lead to such a place.
        let Some(mut real) = sys::real_path(directory) else { return cfg!(target_os = "linux") };
        real.extend(name);
        self.denied_places().any(|(deny, place)| denies(deny) && real.starts_with(place))
    }

    /// Whether a deny about the place on the host of one name, or about what is within, would not be about
    /// the other: two paths of the view may lead to one place.
    pub(super) fn would_shed_deny(&self, old: &Named, new: &Named) -> bool {
        if self.denied.is_empty() {
            return false;
        }
        let real = |named: &Named| Some(sys::real_path(named.parent())?.join(&named.name));
        let (Some(from), Some(to)) = (real(old), real(new)) else {
            return cfg!(target_os = "linux");
        };
        let holds_there = |access: FsAccess| {
            self.denied_places().any(|(deny, place)| {
                to.starts_with(place)
                    && (deny.reads() || !access.reads())
                    && (deny.writes() || !access.writes())
            })
        };
        self.denied_places().any(|(deny, place)| match from.starts_with(&place) {
            true => !holds_there(deny),
            false => place.starts_with(&from),
        })
    }

    /// What is denied, and where on the host.
    fn denied_places(&self) -> impl Iterator<Item = (FsAccess, PathBuf)> {
        self.denied.iter().filter_map(|place| {
            let root = self.mounts[place.mount].root.get()?;
            let path = place.beneath.iter().fold(root.real.clone(), |path, part| path.join(part));
            Some((place.access, path))
        })
    }
}

impl Mount {
    /// The tree, looked up if it was not found yet.
    pub(super) fn root(&self) -> Outcome<&Root> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let found = self.find()?;
        Ok(self.root.get_or_init(|| found))
    }

    fn find(&self) -> Outcome<Root> {
        if self.make {
            make_private(&self.host).map_err(sys::code)?;
        }
        match std::fs::canonicalize(&self.host) {
            Ok(real) if real.is_dir() => {
                let dir = Arc::new(sys::open_root(&real).map_err(sys::code)?);
                Ok(Root { dir, file: None, tree: self.trees.at(&real), real })
            }
            // One file: it is reached from the directory around it, and may be yet to come.
            found => {
                let real = match found {
                    Ok(real) => real,
                    Err(_) => {
                        let name = self.host.file_name().ok_or(ErrorCode::NoEntry)?;
                        let around = self.host.parent().ok_or(ErrorCode::NoEntry)?;
                        std::fs::canonicalize(around).map_err(sys::code)?.join(name)
                    }
                };
                let around = real.parent().ok_or(ErrorCode::NoEntry)?;
                let name = real.file_name().and_then(|name| name.to_str());
                let file = Some(name.ok_or(ErrorCode::IllegalByteSequence)?.to_owned());
                let dir = Arc::new(sys::open_root(around).map_err(sys::code)?);
                Ok(Root { dir, file, tree: self.trees.at(&real), real })
            }
        }
    }
}

impl Root {
    pub(super) fn dir(&self) -> &Arc<OwnedFd> {
        &self.dir
    }
}

/// Makes a directory that is the host's alone.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}
