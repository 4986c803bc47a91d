//! Rules about crates: who may depend on whom, and what each of them declares.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use semver::Version;
use serde::Deserialize;

use super::Problems;
use crate::toolchain;

/// The libraries that meet in `host` and nowhere else.
const PEERS: [&str; 4] = ["host-security", "host-ipc", "host-core", "host-deploy"];

/// What builds without wasmtime, and with which features.
const ENGINE_FREE: [(&str, &str); 4] = [
    ("plugin-contract", "--all-features"),
    ("host-deploy", "--all-features"),
    ("host-security", "--no-default-features"),
    ("xtask", "--all-features"),
];

/// 36 advisories were fixed before it.
const WASMTIME_MIN: Version = Version::new(48, 0, 8);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest_path: PathBuf,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
}

pub(super) fn check(root: &Path, problems: &mut Problems) -> anyhow::Result<()> {
    let members = members(root, "Cargo.toml")?;
    edges(&members, problems);
    for (package, features) in ENGINE_FREE {
        let tree = cargo(
            root,
            &[
                "tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", features, "-p",
                package,
            ],
        )?;
        no_engine(package, &tree, problems);
    }
    for member in members.iter().chain(&self::members(root, "plugins/Cargo.toml")?) {
        lints(&member.name, &fs::read_to_string(&member.manifest_path)?, problems);
    }
    wasmtime_version(&fs::read_to_string(root.join("Cargo.lock"))?, problems)?;
    let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    match fs::read_to_string(root.join("ARCHITECTURE.md")) {
        Ok(text) => code_map(&text, &names, |entry| root.join(entry).exists(), problems),
        Err(_) => problems.push("ARCHITECTURE.md: write the code map"),
    }
    Ok(())
}

/// No peer depends on another, not even in its tests.
pub(super) fn edges(members: &[Package], problems: &mut Problems) {
    for member in members.iter().filter(|member| PEERS.contains(&member.name.as_str())) {
        for dependency in &member.dependencies {
            if PEERS.contains(&dependency.name.as_str()) {
                problems.push(format!(
                    "{}/Cargo.toml: depends on `{}`; the two may meet only in `host`",
                    member.name, dependency.name
                ));
            }
        }
    }
}

/// `tree` is one package on each line: `name v1.2.3 ...`.
pub(super) fn no_engine(package: &str, tree: &str, problems: &mut Problems) {
    let found = tree.lines().find(|line| line.starts_with("wasmtime"));
    if let Some(found) = found.and_then(|line| line.split(' ').next()) {
        problems
            .push(format!("{package}/Cargo.toml: brings in `{found}`; it has to build without"));
    }
}

pub(super) fn lints(name: &str, manifest: &str, problems: &mut Problems) {
    let workspace = manifest
        .parse::<toml::Table>()
        .ok()
        .and_then(|table| table.get("lints")?.get("workspace")?.as_bool());
    if workspace != Some(true) {
        problems.push(format!("{name}/Cargo.toml: add `[lints]` with `workspace = true`"));
    }
}

pub(super) fn wasmtime_version(lock: &str, problems: &mut Problems) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: Version,
    }
    let lock: Lock = toml::from_str(lock).context("reading Cargo.lock")?;
    for package in lock.package {
        if package.name == "wasmtime" && package.version < WASMTIME_MIN {
            problems.push(format!(
                "Cargo.lock: wasmtime {} has known holes; update to at least {WASMTIME_MIN}",
                package.version
            ));
        }
    }
    Ok(())
}

/// Entries stand as bold code: `**`host-core`**`. Each crate has one, and each names something that
/// is there.
pub(super) fn code_map(
    text: &str,
    members: &BTreeSet<&str>,
    exists: impl Fn(&str) -> bool,
    problems: &mut Problems,
) {
    let entries: BTreeSet<&str> =
        text.split("**`").skip(1).filter_map(|rest| Some(rest.split_once("`**")?.0)).collect();
    for member in members.difference(&entries) {
        problems.push(format!("ARCHITECTURE.md: has no entry **`{member}`**"));
    }
    for entry in entries.difference(members) {
        let is_name = entry.chars().all(|c| c.is_ascii_alphanumeric() || "-_/.".contains(c));
        if is_name && !exists(entry) {
            problems.push(format!("ARCHITECTURE.md: names **`{entry}`**, which is not there"));
        }
    }
}

/// The members of a workspace.
fn members(root: &Path, manifest: &str) -> anyhow::Result<Vec<Package>> {
    let args = ["metadata", "--format-version", "1", "--no-deps", "--manifest-path", manifest];
    let metadata: Metadata =
        serde_json::from_str(&cargo(root, &args)?).context("the output of cargo metadata")?;
    Ok(metadata.packages)
}

fn cargo(root: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = toolchain::cargo_command().args(args).current_dir(root).output()?;
    anyhow::ensure!(
        output.status.success(),
        "cargo {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
