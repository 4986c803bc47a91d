//! The contracts in `wit/`, resolved.

use std::path::{Path, PathBuf};

use anyhow::Context;
use plugin_contract::{SYSTEM_PACKAGE, World};
use walkdir::WalkDir;
use wit_parser::{PackageId, Resolve, WorldId};

/// The directories under `wit/` that hold a package, each after those it refers to.
pub(crate) const PACKAGES: [&str; 2] = ["host-api", "plugin-system"];

/// The packages of one tree, with everything they refer to.
pub(crate) struct Wit {
    pub(crate) resolve: Resolve,
    /// In the order of [`PACKAGES`].
    pub(crate) packages: Vec<PackageId>,
}

impl Wit {
    /// Reads the working tree: `<root>/wit`.
    ///
    /// # Errors
    /// If a file cannot be read or is not WIT; the message names line and column.
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        Self::load_dirs(PACKAGES.iter().map(|package| root.join("wit").join(package)))
    }

    /// Reads packages from directories, each after those it refers to.
    ///
    /// # Errors
    /// If a file cannot be read or is not WIT.
    pub(crate) fn load_dirs(dirs: impl IntoIterator<Item = PathBuf>) -> anyhow::Result<Self> {
        let mut resolve = Resolve::default();
        let mut packages = Vec::new();
        for dir in dirs {
            let (package, _) =
                resolve.push_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
            packages.push(package);
        }
        Ok(Self { resolve, packages })
    }

    /// A world of the working tree.
    ///
    /// # Errors
    /// If `wit/` and `plugin-contract` do not know the same worlds.
    pub(crate) fn world(&self, world: World) -> anyhow::Result<WorldId> {
        self.packages
            .iter()
            .find_map(|id| self.resolve.packages[*id].worlds.get(world.name()).copied())
            .with_context(|| format!("{SYSTEM_PACKAGE} has no world `{world}`"))
    }
}

/// All `.wit` files of a package, sorted.
///
/// # Errors
/// If the directory cannot be read.
pub(crate) fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(dir).sort_by_file_name() {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "wit") {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use plugin_contract::{CONTRACT_VERSION, InterfaceName, SYSTEM_PACKAGE, World};

    use super::Wit;

    #[test]
    fn the_worlds_of_the_contract_are_those_in_wit() {
        let wit = Wit::load(&crate::root()).unwrap();
        for world in World::ALL {
            let world_in_wit = &wit.resolve.worlds[wit.world(world).unwrap()];
            let exports: BTreeSet<String> = world_in_wit
                .exports
                .keys()
                .map(|key| wit.resolve.name_world_key(key).parse::<InterfaceName>().unwrap())
                .map(|name| name.interface)
                .collect();
            assert!(exports.iter().map(String::as_str).eq(sorted(world.exports())), "{world}");
        }
        let names = wit.packages.iter().map(|id| &wit.resolve.packages[*id].name);
        let mut system = names.filter(|name| SYSTEM_PACKAGE.ends_with(&format!(":{}", name.name)));
        assert_eq!(system.next().unwrap().version.as_ref(), Some(&CONTRACT_VERSION));
    }

    fn sorted(names: &'static [&'static str]) -> BTreeSet<&'static str> {
        names.iter().copied().collect()
    }
}
