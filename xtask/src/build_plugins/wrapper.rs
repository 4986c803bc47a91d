//! This tool in the role of cargo's `RUSTC_WRAPPER`, so that a clone's place leaves no trace.
//!
//! Cargo salts the symbols of a crate with where it comes from. For a path dependency outside the
//! workspace (`guest-sdk`, seen from `plugins/`) that is its absolute path, and whoever depends on it
//! inherits the difference: two clones of one commit would give plugins of different bytes. So for
//! the crates of this repository the salt is replaced by one made of what matters: which crate, which
//! features, which target, which options.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
};

use plugin_contract::Digest;

/// Names the root of the repository to the wrapper; being set is what makes this tool a wrapper.
pub(crate) const ROOT: &str = "XTASK_WRAPS_RUSTC_FOR";
/// The wrapper that the user had set, which is called in turn.
pub(crate) const INNER: &str = "XTASK_INNER_RUSTC_WRAPPER";

/// Runs rustc with the salt replaced, if this process was started as a wrapper.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let root = env::var_os(ROOT)?;
    let mut args: Vec<OsString> = env::args_os().skip(1).collect();
    if let Some(salt) = salt(Path::new(&root), &args) {
        replace_salt(&mut args, &salt);
    }
    let inner = env::var_os(INNER).filter(|inner| !inner.is_empty());
    let mut command = inner.into_iter().chain(args);
    let program = command.next()?;
    let status = Command::new(&program).args(command).env_remove(ROOT).env_remove(INNER).status();
    Some(match status {
        Ok(status) => ExitCode::from(status.code().and_then(|c| c.try_into().ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: {}: {error}", program.display());
            ExitCode::FAILURE
        }
    })
}

/// The new salt, for a crate of this repository.
fn salt(root: &Path, args: &[OsString]) -> Option<String> {
    let place = env::var_os("CARGO_MANIFEST_DIR")?;
    let place = Path::new(&place).strip_prefix(root).ok()?;
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    Some(salt_of(&place.to_string_lossy(), &version, args))
}

fn salt_of(place: &str, version: &str, args: &[OsString]) -> String {
    let mut text = format!("{place}\n{version}\n");
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        let takes_value = ["--crate-name", "--crate-type", "--cfg", "--target", "-C"];
        let (option, value) = match arg.split_once('=') {
            Some((option, value)) if takes_value.contains(&option) => (option, value.to_owned()),
            _ if takes_value.contains(&arg.as_ref()) => {
                (arg.as_ref(), args.next().unwrap_or_default().into_owned())
            }
            _ => continue,
        };
        let local = ["metadata=", "extra-filename=", "incremental=", "linker="];
        if option != "-C" || !local.iter().any(|local| value.starts_with(local)) {
            text.push_str(&format!("{option} {value}\n"));
        }
    }
    Digest::of(text.as_bytes()).to_string()["sha256:".len()..][..16].to_owned()
}

fn replace_salt(args: &mut [OsString], salt: &str) {
    for arg in args {
        if arg.to_string_lossy().starts_with("metadata=") {
            *arg = format!("metadata={salt}").into();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{replace_salt, salt_of};

    fn args(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    const ONE: &str = "rustc --crate-name a /x/a/src/lib.rs --crate-type lib -C opt-level=z \
        -C metadata=11 -C extra-filename=-12 --out-dir /x/t -L dependency=/x/t --cfg feature=\"f\"";

    #[test]
    fn the_salt_depends_on_what_is_built_and_not_on_where() {
        let salt = |text: &str| salt_of("a", "1.0.0", &args(text));
        let elsewhere = ONE.replace("/x/", "/y/").replace("=11", "=21").replace("=-12", "=-22");
        assert_eq!(salt(ONE), salt(&elsewhere));
        assert_ne!(salt(ONE), salt(&ONE.replace("\"f\"", "\"g\"")));
        assert_ne!(salt(ONE), salt(&ONE.replace("opt-level=z", "opt-level=3")));
        assert_ne!(salt(ONE), salt_of("b", "1.0.0", &args(ONE)));
        assert_ne!(salt(ONE), salt_of("a", "1.0.1", &args(ONE)));
    }

    #[test]
    fn only_the_salt_is_replaced() {
        let mut found = args(ONE);
        replace_salt(&mut found, "99");
        assert_eq!(found, args(&ONE.replace("metadata=11", "metadata=99")));
    }
}
