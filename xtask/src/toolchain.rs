//! The Rust toolchain in use, and the target that plugins are built for.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::build_plugins::BuildError;

/// The target of plugins.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The cargo that runs this tool, or the one on the path.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A call of [`cargo`] that is not of this call.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(cargo());
    for name in inherited() {
        command.env_remove(name);
    }
    command
}

/// `command` without what `cargo xtask` itself was told by cargo.
pub(crate) fn apart(command: xshell::Cmd<'_>) -> xshell::Cmd<'_> {
    inherited().fold(command, |command, name| command.env_remove(name))
}

/// The variables by which cargo tells a program about its own package. Handed on, they would change
/// between `cargo xtask test` and `cargo test`, and crates whose build script looks at them (`ring`)
/// would be compiled again each time, with all that depend on them.
fn inherited() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "CARGO_PRIMARY_PACKAGE"
    })
}

/// What `rustc` in `dir` prints, one line.
pub(crate) fn rustc(dir: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("rustc").args(args).current_dir(dir).output().context("rustc")?;
    if !output.status.success() {
        anyhow::bail!("rustc {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Whether the standard library for `target` is there.
///
/// # Errors
/// [`BuildError::TargetMissing`].
pub(crate) fn check_target(root: &Path, target: &str) -> Result<(), BuildError> {
    let libraries = rustc(root, &["--print", "target-libdir", "--target", target]);
    let has_files = |dir: String| dir_has_files(Path::new(&dir));
    if libraries.is_ok_and(has_files) {
        Ok(())
    } else {
        Err(BuildError::TargetMissing { target: target.to_owned() })
    }
}

/// Installs [`TARGET`] into the toolchain in use, if it is not there.
///
/// # Errors
/// [`BuildError::TargetMissing`] if it is not there and rustup is not there or fails.
pub(crate) fn ensure_target(root: &Path) -> Result<(), BuildError> {
    let Err(missing) = check_target(root, TARGET) else {
        return Ok(());
    };
    eprintln!("installing the Rust target {TARGET}");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(root);
    match rustup.status() {
        Ok(status) if status.success() => check_target(root, TARGET),
        _ => Err(missing),
    }
}

fn dir_has_files(dir: &Path) -> bool {
    dir.read_dir().is_ok_and(|mut files| files.next().is_some())
}

#[cfg(test)]
mod tests {
    use plugin_contract::Explain;

    use super::{TARGET, check_target};

    #[test]
    fn a_target_that_is_not_there_is_told_apart() {
        let root = crate::root();
        assert!(check_target(&root, TARGET).is_ok());
        // Known to rustc but never installed here, and known to nobody.
        for target in ["riscv64gc-unknown-netbsd", "wasm32-nonsense"] {
            let error = check_target(&root, target).unwrap_err();
            assert_eq!(error.code(), "build/target-missing", "{error}");
        }
    }
}
