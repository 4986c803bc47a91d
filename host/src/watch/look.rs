//! A look at a directory: the candidates in it, and where changes of them can be heard.
//!
//! Blocks. Reads no component: manifests alone, when they have changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use host_core::read_file;
use plugin_contract::Manifest;

use super::print::{FileId, Print};

/// Entries of the directory that are looked at, candidates or not.
const ENTRIES_MAX: usize = 100_000;

/// Candidates that are watched.
const CANDIDATES_MAX: usize = 10_000;

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) candidates: BTreeMap<PathBuf, Print>,
    /// Directories in which something may happen, links resolved.
    pub(super) places: BTreeSet<PathBuf>,
    /// There were more entries or candidates than are looked at.
    pub(super) is_cut: bool,
}

/// Looks at one directory, again and again.
#[derive(Debug)]
pub(super) struct Looker {
    directory: PathBuf,
    /// The directory, or file, is itself the plugin.
    is_plugin: bool,
    /// The component that a manifest named, and as of when.
    entrypoints: BTreeMap<PathBuf, (FileId, Option<String>)>,
}

impl Looker {
    /// Blocks.
    pub(super) fn new(directory: PathBuf) -> Self {
        let is_plugin = directory.is_file() || directory.join("plugin.toml").is_file();
        Self { directory, is_plugin, entrypoints: BTreeMap::new() }
    }

    /// Blocks.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub(super) fn look(&mut self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        // If the directory is a link, it may come to lead elsewhere.
        seen.add_place_of_link(&self.directory);
        if self.is_plugin {
            seen.add_place(parent(&self.directory));
            self.add(self.directory.clone(), &mut seen);
            return Ok(seen);
        }
        seen.add_place(&self.directory);
        // The same ones each time, whatever the order in which the system lists them.
        let mut paths = BTreeSet::new();
        for (number, entry) in fs::read_dir(&self.directory)?.enumerate() {
            if number == ENTRIES_MAX {
                seen.is_cut = true;
                break;
            }
            let entry = entry?;
            if is_candidate(&entry) {
                paths.insert(entry.path());
            }
            if paths.len() > CANDIDATES_MAX {
                paths.pop_last();
                seen.is_cut = true;
            }
        }
        self.entrypoints.retain(|path, _| paths.contains(path));
        for path in paths {
            self.add(path, &mut seen);
        }
        Ok(seen)
    }

    fn add(&mut self, path: PathBuf, seen: &mut Seen) {
        seen.add_place_of_link(&path);
        if !path.is_dir() {
            let print = Print([FileId::of(&path), FileId::of(&signature(&path)), None]);
            if print.0[0].is_some() {
                seen.candidates.insert(path, print);
            }
            return;
        }
        seen.add_place(&path);
        let manifest = path.join("plugin.toml");
        let manifest_id = FileId::of(&manifest);
        seen.add_place_of_link(&manifest);
        let mut print = Print([manifest_id, None, None]);
        if let Some(component) = self.component(&path, &manifest, manifest_id) {
            seen.add_place_of_link(&component);
            print.0[1] = FileId::of(&component);
            print.0[2] = FileId::of(&signature(&component));
        }
        seen.candidates.insert(path, print);
    }

    fn component(&mut self, path: &Path, manifest: &Path, id: Option<FileId>) -> Option<PathBuf> {
        let id = id?;
        if self.entrypoints.get(path).is_none_or(|(of, _)| *of != id) {
            let read = || {
                let text = read_file(manifest, Manifest::BYTES_MAX as u64).ok()?;
                Some(Manifest::from_bytes(&text).ok()?.plugin.entrypoint)
            };
            self.entrypoints.insert(path.to_owned(), (id, read()));
        }
        let (_, entrypoint) = self.entrypoints.get(path)?;
        entrypoint.as_ref().map(|entrypoint| path.join(entrypoint))
    }
}

impl Seen {
    fn add_place(&mut self, directory: &Path) {
        self.places.extend(directory.canonicalize());
    }

    /// If `path` is a link: the directory it is in, which hears when it is replaced, and the one that what it
    /// leads to is in. Links between the two are left to the next look.
    fn add_place_of_link(&mut self, path: &Path) {
        if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            return;
        }
        self.add_place(parent(path));
        let target = path.canonicalize().ok();
        self.places.extend(target.as_deref().and_then(Path::parent).map(Path::to_owned));
    }
}

/// Where the entry of this path is.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// As the registry finds them: links are followed, hidden entries are not seen.
fn is_candidate(entry: &fs::DirEntry) -> bool {
    let path = entry.path();
    if entry.file_name().as_encoded_bytes().starts_with(b".") {
        return false;
    }
    let is_directory = || match entry.file_type() {
        Ok(kind) if kind.is_symlink() => path.is_dir(),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    };
    path.extension().is_some_and(|extension| extension == "wasm") || is_directory()
}

fn signature(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}
