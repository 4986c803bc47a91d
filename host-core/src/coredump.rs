//! What a guest that trapped leaves behind for debuggers, where an operator wants it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use plugin_contract::PluginId;
use semver::Version;
use tokio::sync::Semaphore;
use wasmtime::{Store, WasmCoreDump};

use crate::CoreError;

/// Most files kept.
const FILES_MAX: usize = 16;

/// A directory with the core dumps of guests, which holds no more than a few.
#[derive(Debug, Clone)]
pub(crate) struct Coredumps {
    directory: PathBuf,
    /// One dump at a time: each is a copy of a guest's memory, and guests may trap faster than a disk
    /// writes.
    writing: Arc<Semaphore>,
}

impl Coredumps {
    /// Makes the directory if it is not there.
    pub(crate) fn open(directory: &Path) -> Result<Self, CoreError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let unreadable = |source| CoreError::Unreadable { path: directory.to_owned(), source };
        builder.create(directory).map_err(unreadable)?;
        Ok(Self { directory: directory.to_owned(), writing: Arc::new(Semaphore::new(1)) })
    }

    /// Keeps the dump in `error`, if there is one. What cannot be written is logged, and changes nothing
    /// for the call.
    pub(crate) fn keep<T: Send>(
        &self,
        plugin: &PluginId,
        version: &Version,
        error: &wasmtime::Error,
        store: &mut Store<T>,
    ) {
        let Some(dump) = error.downcast_ref::<WasmCoreDump>() else { return };
        let Ok(turn) = self.writing.clone().try_acquire_owned() else {
            tracing::debug!(%plugin, "a core dump was left out: another is being written");
            return;
        };
        let bytes = dump.serialize(store, plugin.as_str());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let path =
            self.directory.join(format!("{:020}-{plugin}-{version}.coredump", now.as_nanos()));
        let plugin = plugin.clone();
        let directory = self.directory.clone();
        // A dump is as large as the guest's memory was.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let written = write(&path, &bytes).and_then(|()| thin_out(&directory));
            match written {
                Ok(()) => {
                    tracing::warn!(%plugin, path = %path.display(), "a core dump was written")
                }
                Err(error) => tracing::warn!(%plugin, %error, "a core dump could not be kept"),
            }
        });
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path)?.write_all(bytes);
    if written.is_err() {
        // Half a dump helps nobody, and the disk may be full.
        let _ = fs::remove_file(path);
    }
    written
}

/// Removes the oldest; names begin with the time.
fn thin_out(directory: &Path) -> io::Result<()> {
    let mut dumps = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "coredump") {
            dumps.push(path);
        }
    }
    dumps.sort();
    let surplus = dumps.len().saturating_sub(FILES_MAX);
    dumps[..surplus].iter().try_for_each(fs::remove_file)
}
