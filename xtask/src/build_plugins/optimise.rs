//! `wasm-opt`, where there is one.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::Context;

use super::{error::BuildError, guests::Guest};

/// The proposals that the input may use and the output is to stay within. Never `--all-features`:
/// newer releases of binaryen then emit what the engine refuses.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-simd",
];

/// An installed `wasm-opt`.
pub(crate) struct WasmOpt {
    program: PathBuf,
    /// What it says of itself; part of what a package depends on.
    pub(crate) version: String,
}

impl WasmOpt {
    /// The one on the path, if it starts.
    pub(crate) fn find() -> Option<Self> {
        let program = env::split_paths(&env::var_os("PATH")?)
            .map(|dir| dir.join("wasm-opt").with_extension(env::consts::EXE_EXTENSION))
            .find(|file| file.is_file())?;
        let output = Command::new(&program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(Self { program, version })
    }

    /// Optimises a core module. Names of functions are kept for backtraces.
    ///
    /// # Errors
    /// [`BuildError::OptimiseFailed`] with what it printed.
    pub(crate) fn run(&self, guest: &Guest, core: &[u8]) -> anyhow::Result<Vec<u8>> {
        let dir = tempfile::tempdir().context("a directory for wasm-opt")?;
        let (input, output) = (dir.path().join("in.wasm"), dir.path().join("out.wasm"));
        fs::write(&input, core)?;
        let level = format!("-O{}", guest.packaging.wasm_opt);
        let result = Command::new(&self.program)
            .args([&level, "-g", "--strip-dwarf"])
            .args(FEATURES)
            .arg(&input)
            .arg("-o")
            .arg(&output)
            .output()
            .context("wasm-opt")?;
        if !result.status.success() {
            let guest = guest.name.clone();
            let output = String::from_utf8_lossy(&result.stderr).trim().to_owned();
            return Err(BuildError::OptimiseFailed { guest, output }.into());
        }
        fs::read(&output).context("reading what wasm-opt wrote")
    }
}
