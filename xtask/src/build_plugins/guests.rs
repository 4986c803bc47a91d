//! Which guests there are, and what they say of themselves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use plugin_contract::Manifest;
use serde::Deserialize;

use super::error::BuildError;
use crate::toolchain;

/// One package with a `plugin.toml`.
pub(crate) struct Guest {
    /// Of the cargo package and the files written; of the manifest, too, unless `packaging` says otherwise.
    pub(crate) name: String,
    /// Where `Cargo.toml` and `plugin.toml` are.
    pub(crate) dir: PathBuf,
    /// The parsed `plugin.toml`.
    pub(crate) manifest: Manifest,
    /// The text of `plugin.toml`, which is shipped as it stands.
    pub(crate) manifest_text: String,
    /// Made to misbehave in tests; packaged apart, so that nobody serves it by accident.
    pub(crate) is_test: bool,
    /// `[package.metadata.packaging]`.
    pub(crate) packaging: Packaging,
}

/// `[package.metadata.packaging]` in a guest's `Cargo.toml`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Packaging {
    /// The level handed to `wasm-opt`: `z` for size, `3` for speed.
    pub(crate) wasm_opt: String,
    /// Whether the component has to fit its world. Only a test guest may say no.
    pub(crate) fits_world: bool,
    /// The plugin's name, if it is not the package's: that of another package, of which it is another version.
    /// Only a test guest may be.
    pub(crate) name: Option<String>,
}

impl Default for Packaging {
    fn default() -> Self {
        Self { wasm_opt: "z".to_owned(), fits_world: true, name: None }
    }
}

/// A workspace of guests.
pub(crate) struct Guests {
    pub(crate) guests: Vec<Guest>,
    /// Where sources of crates from registries are, which is nobody's business in a package.
    pub(crate) registries: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    manifest_path: PathBuf,
    source: Option<String>,
    metadata: Option<PackageMetadata>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    packaging: Option<Packaging>,
}

impl Guests {
    /// Finds the guests of the workspace in `dir`; fetches their dependencies where needed.
    ///
    /// # Errors
    /// [`BuildError::CargoFailed`], [`BuildError::Manifest`], [`BuildError::ManifestMismatch`],
    /// [`BuildError::UnknownGuest`] if `only` names none.
    pub(crate) fn find(dir: &Path, only: Option<&str>) -> anyhow::Result<Self> {
        let metadata = metadata(dir)?;
        let mut registries: Vec<PathBuf> = metadata
            .packages
            .iter()
            .filter(|package| package.source.as_ref().is_some_and(|s| s.starts_with("registry+")))
            .filter_map(|package| Some(package.manifest_path.parent()?.parent()?.to_owned()))
            .collect();
        registries.sort();
        registries.dedup();

        let mut known = Vec::new();
        let mut guests = Vec::new();
        for package in metadata.packages {
            let dir = package.manifest_path.parent().context("a manifest is in a directory")?;
            let is_member = metadata.workspace_members.contains(&package.id);
            if !is_member || !dir.join("plugin.toml").is_file() {
                continue;
            }
            if only.is_none_or(|only| only == package.name || dir.ends_with(only)) {
                guests.push(Guest::read(&package, dir)?);
            }
            known.push(package.name);
        }
        if let (true, Some(name)) = (guests.is_empty(), only) {
            known.sort();
            let (name, known) = (name.to_owned(), known.join(", "));
            return Err(BuildError::UnknownGuest { name, known }.into());
        }
        guests.sort_by(|a, b| (a.is_test, &a.name).cmp(&(b.is_test, &b.name)));
        Ok(Self { guests, registries })
    }
}

impl Guest {
    fn read(package: &Package, dir: &Path) -> anyhow::Result<Self> {
        let guest = package.name.clone();
        let path = dir.join("plugin.toml");
        let manifest_text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let manifest: Manifest = manifest_text
            .parse()
            .map_err(|source| BuildError::Manifest { guest: guest.clone(), source })?;
        let is_test = dir.components().any(|part| part.as_os_str() == "test-guests");
        let packaging =
            package.metadata.as_ref().and_then(|m| m.packaging.clone()).unwrap_or_default();
        let name = packaging.name.as_deref().unwrap_or(&guest);
        check_agreement(&guest, name, &package.version, &manifest)?;
        anyhow::ensure!(
            packaging.fits_world || is_test,
            "`{guest}` is no test guest, so it has to fit its world"
        );
        anyhow::ensure!(
            name == guest || is_test,
            "`{guest}` is no test guest, so plugin and package have one name"
        );
        Ok(Self { name: guest, dir: dir.to_owned(), manifest, manifest_text, is_test, packaging })
    }
}

/// One name and one version, wherever they stand.
fn check_agreement(
    guest: &str,
    name: &str,
    version: &str,
    manifest: &Manifest,
) -> Result<(), BuildError> {
    let plugin = &manifest.plugin;
    let pairs = [
        ("name", plugin.name.to_string(), name.to_owned()),
        ("version", plugin.version.to_string(), version.to_owned()),
        ("entrypoint", plugin.entrypoint.clone(), format!("{guest}.wasm")),
    ];
    for (key, says, should) in pairs {
        if says != should {
            let guest = guest.to_owned();
            return Err(BuildError::ManifestMismatch { guest, key, says, should });
        }
    }
    Ok(())
}

fn metadata(dir: &Path) -> anyhow::Result<Metadata> {
    let output = toolchain::cargo_command()
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(dir.join("Cargo.toml"))
        .current_dir(dir)
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        let guest = dir.display().to_string();
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BuildError::CargoFailed { guest, output }.into());
    }
    serde_json::from_slice(&output.stdout).context("the output of cargo metadata")
}

#[cfg(test)]
mod tests {
    use plugin_contract::{Explain, Manifest};

    use super::check_agreement;

    #[track_caller]
    fn check(cargo: (&str, &str), expected: Result<(), &str>) {
        let manifest: Manifest =
            "[plugin]\nname = \"a\"\nversion = \"1.2.3\"\nentrypoint = \"a.wasm\"".parse().unwrap();
        let result = check_agreement(cargo.0, cargo.0, cargo.1, &manifest);
        let result = result.map_err(|error| {
            assert_eq!(error.code(), "build/manifest-mismatch");
            error.to_string()
        });
        assert_eq!(result, expected.map_err(str::to_owned));
    }

    #[test]
    fn the_manifest_and_cargo_agree_on_name_and_version() {
        check(("a", "1.2.3"), Ok(()));
        check(
            ("b", "1.2.3"),
            Err("`plugin.toml` of `b` says `name = \"a\"`, by `Cargo.toml` it is \"b\""),
        );
        check(
            ("a", "1.2.4"),
            Err("`plugin.toml` of `a` says `version = \"1.2.3\"`, by `Cargo.toml` it is \"1.2.4\""),
        );
    }
}
