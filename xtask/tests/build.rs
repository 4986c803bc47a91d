//! `cargo xtask build-plugins` as contributors see it: real guests, a real compiler.
#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Runs the tool in the repository at `root`.
fn xtask(root: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(args)
        .env("CARGO_MANIFEST_DIR", root.join("xtask"))
        .output()
        .unwrap()
}

/// The end of what a failed run says.
#[track_caller]
fn refused(args: &[&str], expected: &str) {
    let output = xtask(root(), args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with(expected), "{said}");
}

#[test]
fn a_symbol_that_nobody_defines_is_named() {
    refused(
        &["build-plugins", "--workspace", "plugins/broken/missing-symbol"],
        "error: `missing-symbol` does not link: nobody defines `defined_by_nobody`\n\
         code: build/link-failed\n\
         help: define the symbol, link the library that does, or call the host through an \
         interface of its world instead\n",
    );
}

#[test]
fn a_target_that_is_not_installed_is_told_before_anything_is_compiled() {
    refused(
        &["build-plugins", "--target", "riscv64gc-unknown-netbsd"],
        "error: the Rust target `riscv64gc-unknown-netbsd` is not installed\n\
         code: build/target-missing\n\
         help: run `rustup target add wasm32-wasip2`\n",
    );
}

#[test]
fn a_guest_that_is_not_there_is_told_with_those_that_are() {
    let output = xtask(root(), &["build-plugins", "--only", "nobody"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no guest `nobody`; there are action-log, "), "{said}");
    assert!(said.contains("code: build/unknown-guest"), "{said}");
}

/// Builds the guest `minimal` of the repository at `root` into `out`.
#[track_caller]
fn build_minimal(root: &Path, out: &Path) -> (PathBuf, String) {
    let out_text = out.to_str().unwrap();
    let output =
        xtask(root, &["build-plugins", "--only", "minimal", "--test-out", out_text, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = rows[0]["status"].as_str().unwrap().to_owned();
    (out.join("minimal/minimal.wasm"), status)
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let out = tempfile::tempdir().unwrap();
    let (path, status) = build_minimal(root(), out.path());
    assert_eq!(status, "built");
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(
        fs::read(out.path().join("minimal/plugin.toml")).unwrap(),
        fs::read(root().join("plugins/test-guests/minimal/plugin.toml")).unwrap()
    );

    let signature = out.path().join("minimal/minimal.wasm.sig");
    let signed = fs::read(&signature).unwrap();

    let (_, status) = build_minimal(root(), out.path());
    assert_eq!(status, "unchanged");
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);

    fs::remove_file(&signature).unwrap();
    let (_, status) = build_minimal(root(), out.path());
    assert_eq!(status, "signed");
    assert_eq!(fs::read(&signature).unwrap(), signed);

    fs::write(&path, b"damaged").unwrap();
    let (_, status) = build_minimal(root(), out.path());
    assert_eq!(status, "built");
    assert_ne!(fs::read(&path).unwrap(), b"damaged");
}

#[test]
fn the_same_sources_at_another_place_give_the_same_bytes() {
    let out = tempfile::tempdir().unwrap();
    let (here, _) = build_minimal(root(), &out.path().join("here"));

    let clone = tempfile::tempdir().unwrap();
    for part in ["Cargo.toml", "rust-toolchain.toml", "guest-sdk", "plugins", "wit"] {
        copy(&root().join(part), &clone.path().join("elsewhere").join(part));
    }
    let (there, _) =
        build_minimal(&clone.path().join("elsewhere"), &clone.path().join("elsewhere/out"));
    assert!(fs::read(here).unwrap() == fs::read(there).unwrap());
}

/// Copies a file or a directory, without what was built in it.
fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "target" {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    }
}
