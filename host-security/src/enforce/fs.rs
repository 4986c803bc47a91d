//! The filesystem that guests see: one tree, `/`, in which every access is decided where it happens.
//!
//! A guest gets a single preopened directory, a virtual `/`. Every path it names is resolved here, one
//! component at a time, each opened beneath the directory that was opened before it and never through a
//! symbolic link: links are read and their targets resolved like what the guest writes. At each step the
//! [`FsRules`] are asked about the path in the guest's view. So `..`, links, renames and
//! look-alike prefixes lead where the rules are asked again, and whoever swaps a link between two steps
//! gains nothing: what was opened is what was decided about.
//!
//! | file        | what                                                       |
//! |-------------|------------------------------------------------------------|
//! | `view`      | where granted trees are on the host, and what is between   |
//! | `walk`      | from a path to the directory that holds it                 |
//! | `ops`       | what may be done there, one function for each operation    |
//! | `quota`     | how much a tree holds                                      |
//! | `reach`     | how deep a tree may be                                     |
//! | `node`      | what a guest holds: directories, files                     |
//! | `guest`     | `wasi:filesystem`, in terms of the above                   |
//! | `streams`   | reading and writing                                        |
//!
//! Not here: what is granted ([`Policy`](crate::Policy)).

mod guest;
mod node;
mod ops;
mod quota;
mod reach;
mod streams;
mod sys;
#[cfg(test)]
mod tests;
mod view;
mod walk;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::Semaphore;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};

use crate::{
    Auditor, FsRules, Grant, Limits,
    audit::{EnforcementAction, ViolationType},
};

use quota::Trees;
use view::View;

/// The interfaces this adds to a linker, without versions.
pub const FS_INTERFACES: [&str; 2] = ["wasi:filesystem/types", "wasi:filesystem/preopens"];

/// What the filesystems of all plugins share: how much each tree on the host holds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct FsShared {
    trees: Trees,
}

/// The files of one revision of a plugin, for all of its instances. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PluginFs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: Arc<FsRules>,
    view: View,
    limits: Limits,
    auditor: Auditor,
    /// File work at one time: a disk that hangs holds this many threads, and no other plugin's.
    workers: Arc<Semaphore>,
}

/// Operations on files of one plugin at one time; others wait.
const WORKERS: usize = 8;

impl PluginFs {
    /// The files of `grant`. `data_dir` is where the plugin's private directory is on the host; it is
    /// made when the plugin first needs it.
    ///
    /// Paths on the host are looked up now, links in them followed, for the operator wrote them.
    /// What is not there yet is looked for again when the plugin asks for it. May block.
    pub fn new(
        grant: &Grant,
        data_dir: Option<PathBuf>,
        shared: &FsShared,
        auditor: Auditor,
    ) -> Self {
        let data_dir = data_dir.filter(|_| grant.has_data_dir());
        Self {
            inner: Arc::new(Inner {
                rules: grant.fs().clone(),
                view: View::new(grant, data_dir, &shared.trees),
                limits: grant.limits().clone(),
                auditor,
                workers: Arc::new(Semaphore::new(WORKERS)),
            }),
        }
    }

    /// What an instance of the plugin keeps.
    pub fn instance(&self) -> FsCtx {
        FsCtx { fs: self.clone(), open: OpenFiles::default() }
    }

    /// Has `work` done where it may block.
    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<R, types::ErrorCode> + Send + 'static,
    ) -> Result<R, types::ErrorCode> {
        // The semaphore is never closed, and what panics has done nothing the guest may see.
        let permit = self.inner.workers.clone().acquire_owned().await;
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _held_until_done = permit;
            work(&inner)
        });
        done.await.unwrap_or(Err(types::ErrorCode::Io))
    }
}

/// What one instance keeps of its files.
#[derive(Debug)]
pub struct FsCtx {
    fs: PluginFs,
    open: OpenFiles,
}

/// Counts what an instance holds open.
#[derive(Debug, Clone, Default)]
struct OpenFiles {
    count: Arc<AtomicU32>,
}

/// One open file or directory, as long as it is open.
#[derive(Debug)]
struct OpenSlot {
    count: Arc<AtomicU32>,
}

impl OpenFiles {
    /// Room for one more.
    fn take(&self, inner: &Inner, path: &str) -> Result<OpenSlot, types::ErrorCode> {
        let max = inner.limits.open_files;
        let taken = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            open.checked_add(1).filter(|open| *open <= max)
        });
        if taken.is_ok() {
            return Ok(OpenSlot { count: self.count.clone() });
        }
        inner.auditor.exceeded(
            ViolationType::LimitExceeded,
            EnforcementAction::Denied,
            "open",
            path,
            &format!("limits.open-files = {max}"),
        );
        Err(types::ErrorCode::InsufficientMemory)
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the files of an instance are in the data of its store.
pub struct FsView<'a> {
    /// Its files.
    pub ctx: &'a mut FsCtx,
    /// Its handles.
    pub table: &'a mut ResourceTable,
}

struct WasiFs;

impl HasData for WasiFs {
    type Data<'a> = FsView<'a>;
}

/// Adds [`FS_INTERFACES`] to `linker`.
///
/// # Errors
/// The engine's, if one of them is there already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> FsView<'_>,
) -> wasmtime::Result<()> {
    types::add_to_linker::<T, WasiFs>(linker, view)?;
    preopens::add_to_linker::<T, WasiFs>(linker, view)
}
