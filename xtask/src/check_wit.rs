//! `cargo xtask check-wit`: the contracts in `wit/` are documented, dated, and frozen once released.
//!
//! A release is a copy of a package under `wit/released/<version>/<package>/`, held by the digests in
//! `released.lock`. The working tree is compared with the latest release on its track: nothing that
//! guests or hosts were built against may go, and what is new needs a new version.

mod error;
mod items;
mod releases;

use std::path::Path;

use anyhow::Context;
use host_deploy::compat::{Report, Verdict, WitPackage, compare};
use semver::Version;
use wit_parser::PackageId;

pub(crate) use error::WitError;

use self::{
    items::Items,
    releases::{Release, Releases},
};
use crate::wit::{PACKAGES, Wit};

/// Checks that the contracts are documented, and that nothing released has changed.
#[derive(clap::Args)]
pub(crate) struct CheckWit {
    /// Keep the working tree as the release of its version, if that is not released yet.
    #[arg(long)]
    bless: bool,
}

impl CheckWit {
    /// # Errors
    /// [`WitError`], or WIT that cannot be read.
    pub(crate) fn run(self, _sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        let dir = root.join("wit");
        let checked = check(&dir)?;
        for package in &checked {
            println!("{package}");
        }
        if self.bless {
            for (package, name) in checked.iter().zip(PACKAGES) {
                if package.released_as_is {
                    println!("{}@{} is released already", package.name, package.version);
                } else {
                    releases::keep(&dir, name, &package.version)?;
                    println!("{}@{} is released now", package.name, package.version);
                }
            }
        }
        Ok(())
    }
}

/// A package that passed.
pub(crate) struct Checked {
    name: String,
    version: Version,
    /// Whether its version is among the releases.
    released_as_is: bool,
    /// The release it was compared with, and what came out.
    compared: Option<(Version, Verdict)>,
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}: documented and dated; ", self.name, self.version)?;
        match &self.compared {
            Some((version, verdict)) => write!(f, "{verdict} compared with release {version}"),
            None => write!(f, "no release to compare with"),
        }
    }
}

/// Checks all packages under `dir`, which is laid out like `wit/`.
///
/// # Errors
/// [`WitError`], or WIT that cannot be read.
pub(crate) fn check(dir: &Path) -> anyhow::Result<Vec<Checked>> {
    let releases = Releases::read(&dir.join("released"))?;
    let working = Wit::load_dirs(PACKAGES.iter().map(|package| dir.join(package)))?;
    let mut checked = Vec::new();
    for (name, &id) in PACKAGES.into_iter().zip(&working.packages) {
        let items = Items::read(WitPackage::new(&working.resolve, id));
        items.check_documented()?;
        checked.push(check_package(name, &working, id, &items, &releases)?);
    }
    Ok(checked)
}

fn check_package(
    dir_name: &str,
    working: &Wit,
    id: PackageId,
    items: &Items,
    releases: &Releases,
) -> anyhow::Result<Checked> {
    let package = &working.resolve.packages[id].name;
    let name = format!("{}:{}", package.namespace, package.name);
    let version = package.version.clone().with_context(|| format!("`{name}` needs a version"))?;
    let released_as_is = releases.of(dir_name).any(|release| release.version == version);
    let mut checked = Checked { name: name.clone(), version, released_as_is, compared: None };

    let latest = releases.of(dir_name).filter(|r| same_track(&r.version, &checked.version)).max();
    if let Some(latest) = latest {
        let (old, old_id) = releases.load(latest)?;
        let old_package = WitPackage::new(&old.resolve, old_id);
        let report = compare(old_package, WitPackage::new(&working.resolve, id));
        judge(&name, latest, &checked.version, &report)?;
        items.check_dates(&Items::read(old_package), &latest.version)?;
        checked.compared = Some((latest.version.clone(), report.verdict()));
    }
    Ok(checked)
}

/// Whether the changes since `release` may bear the version `version`.
fn judge(
    package: &str,
    release: &Release,
    version: &Version,
    report: &Report,
) -> Result<(), WitError> {
    let released = &release.version;
    let release = format!("{package}@{released}");
    match report.verdict() {
        Verdict::Breaking => {
            let changes = report.breaking().map(ToString::to_string).collect();
            Err(WitError::Breaking { release, changes })
        }
        Verdict::Additive if (version.major, version.minor) <= (released.major, released.minor) => {
            let needed = Version::new(released.major, released.minor + 1, 0).to_string();
            let changes = report.changes.iter().map(ToString::to_string).collect();
            Err(WitError::NotBumped { release, needed, changes })
        }
        Verdict::Additive | Verdict::Identical => Ok(()),
    }
}

/// Versions that promise to fit each other.
fn same_track(a: &Version, b: &Version) -> bool {
    a.major == b.major && (a.major > 0 || a.minor == b.minor)
}

#[cfg(test)]
mod tests;
