//! Writing packages only when they change.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use plugin_contract::{Digest, World};
use serde::{Deserialize, Serialize};

/// What a package was made from and what came of it, as remembered from the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Of everything that goes into a package: core module, manifest, tools, contracts.
    pub(crate) inputs: Digest,
    /// Of the component.
    pub(crate) output: Digest,
    /// The component's size, in bytes.
    pub(crate) bytes: u64,
    pub(crate) world: Option<World>,
}

impl Stamp {
    /// Reads a stamp; none if there is none that can be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        toml::from_str(&fs::read_to_string(path).ok()?).ok()
    }

    /// Whether the files written last time are still there as they were written.
    pub(crate) fn holds(&self, inputs: Digest, files: &[(PathBuf, Digest)]) -> bool {
        self.inputs == inputs
            && files.iter().all(|(path, digest)| {
                fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
            })
    }

    /// Remembers.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_if_changed(path, toml::to_string(self)?.as_bytes()).map(|_| ())
    }
}

/// Writes `bytes`, unless they are what is there. The file appears whole or not at all, so a host
/// that watches the directory never reads a half. Says whether it wrote.
///
/// # Errors
/// If the directory or the file cannot be written.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(false);
    }
    let dir = path.parent().context("a file is in a directory")?;
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        readable_by_all(file.as_file())?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))?;
    Ok(true)
}

/// Temporary files are their owner's alone; packages are not.
#[cfg(unix)]
fn readable_by_all(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use plugin_contract::{Digest, World};

    use super::{Stamp, write_if_changed};

    #[test]
    fn the_same_bytes_are_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.wasm");
        assert!(write_if_changed(&path, b"one").unwrap());
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert!(write_if_changed(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_stamp_holds_while_inputs_and_outputs_are_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stamp.toml");
        let output = dir.path().join("a.wasm");
        fs::write(&output, b"component").unwrap();
        let files = [(output.clone(), Digest::of(b"component"))];
        let stamp = Stamp {
            inputs: Digest::of(b"in"),
            output: Digest::of(b"component"),
            bytes: 9,
            world: Some(World::MinimalPlugin),
        };
        assert_eq!(Stamp::read(&path), None);
        stamp.write(&path).unwrap();
        assert_eq!(Stamp::read(&path), Some(stamp.clone()));

        assert!(stamp.holds(Digest::of(b"in"), &files));
        assert!(!stamp.holds(Digest::of(b"other"), &files));
        fs::write(&output, b"damaged").unwrap();
        assert!(!stamp.holds(Digest::of(b"in"), &files));
    }
}
