//! What was released, and proof that nobody has changed it since.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use plugin_contract::Digest;
use semver::Version;
use wit_parser::PackageId;

use super::error::WitError;
use crate::wit::{self, PACKAGES, Wit};

const LOCK: &str = "released.lock";

/// Everything under `wit/released`.
pub(super) struct Releases {
    dir: PathBuf,
    releases: Vec<Release>,
}

/// One version of one package. Ordered by version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release {
    pub(super) version: Version,
    /// The package's directory: `host-api`.
    package: String,
}

impl Releases {
    /// Reads the releases under `dir` and checks them against the lock.
    ///
    /// # Errors
    /// [`WitError::ReleasedEdited`].
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let files = digests(dir)?;
        let locked = read_lock(&dir.join(LOCK))?;
        let mut edited = Vec::new();
        for (file, digest) in &locked {
            match files.get(file) {
                None => edited.push(format!("`wit/released/{file}` is gone")),
                Some(found) if found != digest => {
                    edited.push(format!("`wit/released/{file}` is not as it was released"));
                }
                Some(_) => {}
            }
        }
        let unlocked = files.keys().filter(|file| !locked.contains_key(*file));
        edited.extend(unlocked.map(|file| format!("`wit/released/{file}` was never released")));
        if !edited.is_empty() {
            return Err(WitError::ReleasedEdited { files: edited }.into());
        }

        let mut releases = Vec::new();
        for file in files.keys() {
            let mut parts = file.split('/');
            let (Some(version), Some(package)) = (parts.next(), parts.next()) else { continue };
            let version = version.parse().with_context(|| format!("wit/released/{file}"))?;
            let release = Release { version, package: package.to_owned() };
            if !releases.contains(&release) {
                releases.push(release);
            }
        }
        Ok(Self { dir: dir.to_owned(), releases })
    }

    /// The releases of one package.
    pub(super) fn of(&self, package: &str) -> impl Iterator<Item = &Release> {
        self.releases.iter().filter(move |release| release.package == package)
    }

    /// Resolves a release, with every release of the packages that it may refer to.
    ///
    /// # Errors
    /// If it is not WIT any more.
    pub(super) fn load(&self, release: &Release) -> anyhow::Result<(Wit, PackageId)> {
        let before = PACKAGES.into_iter().take_while(|package| *package != release.package);
        let mut wanted: Vec<&Release> = before.flat_map(|package| self.of(package)).collect();
        wanted.push(release);
        let dirs = wanted.iter().map(|r| self.dir.join(r.version.to_string()).join(&r.package));
        let wit = Wit::load_dirs(dirs)?;
        let id = *wit.packages.last().context("at least the release itself was loaded")?;
        Ok((wit, id))
    }
}

/// Keeps the working tree of `package` as its release `version`.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn keep(wit_dir: &Path, package: &str, version: &Version) -> anyhow::Result<()> {
    let released = wit_dir.join("released");
    let target = released.join(version.to_string()).join(package);
    fs::create_dir_all(&target)?;
    for file in wit::files(&wit_dir.join(package))? {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(&file, target.join(name))
            .with_context(|| format!("copying {}", file.display()))?;
    }
    let mut lock = String::from(
        "# The releases of the contracts, as they were. Written by `cargo xtask check-wit --bless`.\n",
    );
    for (file, digest) in digests(&released)? {
        lock.push_str(&format!("{digest}  {file}\n"));
    }
    fs::write(released.join(LOCK), lock).context("writing the lock")
}

/// All released files with their digests, by path under `dir`, with `/` between the parts.
fn digests(dir: &Path) -> anyhow::Result<BTreeMap<String, Digest>> {
    if !dir.is_dir() {
        return Ok(BTreeMap::new());
    }
    let mut digests = BTreeMap::new();
    for file in wit::files(dir)? {
        let path = file.strip_prefix(dir)?;
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        digests.insert(parts.join("/"), Digest::of(&bytes));
    }
    Ok(digests)
}

fn read_lock(path: &Path) -> anyhow::Result<BTreeMap<String, Digest>> {
    let Ok(text) = fs::read_to_string(path) else {
        return Ok(BTreeMap::new());
    };
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (digest, file) = line.split_once("  ").context("a digest and a file")?;
            Ok((file.to_owned(), digest.parse()?))
        })
        .collect::<anyhow::Result<_>>()
        .with_context(|| format!("reading {}", path.display()))
}
