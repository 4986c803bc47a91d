use std::collections::BTreeSet;

use super::{
    Problems,
    crates::{Dependency, Package, code_map, edges, lints, no_engine, wasmtime_version},
    sources::{shown, source, tested},
};

#[track_caller]
fn check(rule: impl FnOnce(&mut Problems), expected: &[&str]) {
    let mut problems = Problems::default();
    rule(&mut problems);
    assert_eq!(problems.0, expected);
}

#[test]
fn the_repository_is_tidy() {
    if let Err(error) = super::check(&crate::root()) {
        panic!("{error:#}");
    }
}

#[test]
fn the_host_libraries_do_not_depend_on_each_other() {
    let package = |name: &str, dependency: &str| {
        [Package {
            name: name.to_owned(),
            manifest_path: "Cargo.toml".into(),
            dependencies: vec![Dependency { name: dependency.to_owned() }],
        }]
    };
    check(|p| edges(&package("host-core", "plugin-contract"), p), &[]);
    check(|p| edges(&package("host", "host-core"), p), &[]);
    check(
        |p| edges(&package("host-core", "host-ipc"), p),
        &["host-core/Cargo.toml: depends on `host-ipc`; the two may meet only in `host`"],
    );
}

#[test]
fn the_engine_stays_out_of_where_it_is_not_needed() {
    check(|p| no_engine("a", "a v0.1.0 (/x)\nwasmparser v0.254.2\n", p), &[]);
    check(
        |p| no_engine("a", "a v0.1.0 (/x)\nwasmtime v48.0.8\n", p),
        &["a/Cargo.toml: brings in `wasmtime`; it has to build without"],
    );
}

#[test]
fn decisions_know_no_file_and_no_clock() {
    let clock = "//! Decides.\nlet now = Instant::now();\n";
    let found = "host-deploy/src/a.rs: `Instant::now`, where decisions take values; hand it in";
    check(|p| source("host-deploy/src/a.rs", clock, p), &[found]);
    check(|p| source("host-deploy/src/a.rs", "//! Decides.\n//! Instant::now\n", p), &[]);
    check(|p| source("host-deploy/src/storage/embedded.rs", clock, p), &[]);
    check(|p| source("host/src/a.rs", clock, p), &[]);
}

#[test]
fn every_crate_takes_the_lints_of_its_workspace() {
    check(|p| lints("a", "[lints]\nworkspace = true\n", p), &[]);
    for manifest in ["", "[lints]\nworkspace = false\n", "[lints.rust]\nunsafe_code = \"deny\"\n"] {
        check(
            |p| lints("a", manifest, p),
            &["a/Cargo.toml: add `[lints]` with `workspace = true`"],
        );
    }
}

#[test]
fn wasmtime_is_not_older_than_its_fixes() {
    let lock = |version| format!("[[package]]\nname = \"wasmtime\"\nversion = \"{version}\"\n");
    check(|p| wasmtime_version(&lock("48.0.8"), p).unwrap(), &[]);
    check(
        |p| wasmtime_version(&lock("48.0.7"), p).unwrap(),
        &["Cargo.lock: wasmtime 48.0.7 has known holes; update to at least 48.0.8"],
    );
}

#[test]
fn the_code_map_and_the_crates_match_both_ways() {
    let members = BTreeSet::from(["host", "host-core"]);
    let map = |text: &str, p: &mut Problems| code_map(text, &members, |name| name == "wit/", p);
    check(|p| map("**`host`** is. **`host-core`** too. **`wit/`** also. **bold**", p), &[]);
    check(
        |p| map("**`host`** is. **`host-gone`** was.", p),
        &[
            "ARCHITECTURE.md: has no entry **`host-core`**",
            "ARCHITECTURE.md: names **`host-gone`**, which is not there",
        ],
    );
}

#[test]
fn sources_are_short_and_say_what_they_are_for() {
    let long = format!("//! Long.\n{}", "\n".repeat(600));
    check(|p| source("a/src/lib.rs", "//! Short.\n", p), &[]);
    check(|p| source("a/src/tests.rs", &long, p), &[]);
    check(
        |p| source("a/src/lib.rs", &long, p),
        &["a/src/lib.rs: 601 lines, where 600 are allowed; split it"],
    );
    check(
        |p| source("a/src/lib.rs", "fn main() {}\n", p),
        &["a/src/lib.rs: open with a `//!` comment that says what it is for"],
    );
}

#[test]
fn unsafe_blocks_say_why_they_are_sound() {
    let block = concat!("//! A.\nfn f() { unsafe", " { g() } }\n");
    check(|p| source("a/src/lib.rs", &format!("{block}// SAFETY: g is fine.\n"), p), &[]);
    check(
        |p| source("a/src/lib.rs", block, p),
        &["a/src/lib.rs: say in a `// SAFETY:` comment why the block is sound"],
    );
}

#[test]
fn every_test_guest_is_in_a_test() {
    check(|p| tested("counter", "load(\"counter\")", p), &[]);
    check(|p| tested("counter", "\"dist/test-plugins/counter/counter.wasm\"", p), &[]);
    check(
        |p| tested("counter", "counters", p),
        &["plugins/test-guests/counter: no test of the host names it"],
    );
}

#[test]
fn the_manuals_name_tests_that_are_there() {
    let functions = ["one_test_that_is_there".to_owned()].into();
    let manual = "| `core/trap` | `permissions.memory` | `one_test_that_is_there` |";
    check(|p| shown("docs/errors.md", manual, &functions, p), &[]);
    check(
        |p| shown("docs/attacks.md", "`one_that_is_not_there`", &functions, p),
        &["docs/attacks.md: there is no test `one_that_is_not_there`"],
    );
}
