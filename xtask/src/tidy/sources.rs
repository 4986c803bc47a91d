//! Rules about source files.

use std::{collections::HashSet, fs, path::Path};

use anyhow::Context;
use walkdir::WalkDir;

use super::Problems;

/// A longer file is usually two.
const LINES_MAX: usize = 600;

/// What names the tests that show what it says.
const MANUALS: [&str; 2] = ["docs/errors.md", "docs/attacks.md"];

/// Where nobody writes by hand.
const SKIPPED: [&str; 4] = ["target", "dist", "data", "node_modules"];

pub(super) fn check(root: &Path, problems: &mut Problems) -> anyhow::Result<()> {
    let (mut tests, mut functions) = (String::new(), HashSet::new());
    for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || SKIPPED.contains(&&*name))
    }) {
        let entry = entry?;
        let path = entry.path().strip_prefix(root)?;
        if path.extension().is_none_or(|extension| extension != "rs") || !entry.path().is_file() {
            continue;
        }
        let text = fs::read_to_string(entry.path())
            .with_context(|| format!("reading {}", path.display()))?;
        let name: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        source(&name.join("/"), &text, problems);
        functions.extend(names_of_functions(&text).map(str::to_owned));
        if name[0].starts_with("host") && name[1] == "tests" {
            tests += &text;
        }
    }
    for manual in MANUALS {
        let text =
            fs::read_to_string(root.join(manual)).with_context(|| format!("reading {manual}"))?;
        shown(manual, &text, &functions, problems);
    }
    let guests = WalkDir::new(root.join("plugins/test-guests")).min_depth(1).max_depth(1);
    for entry in guests.sort_by_file_name() {
        let entry = entry?;
        if entry.path().join("plugin.toml").is_file() {
            tested(&entry.file_name().to_string_lossy(), &tests, problems);
        }
    }
    Ok(())
}

/// The rules for one file. `name` is its path in the repository.
pub(super) fn source(name: &str, text: &str, problems: &mut Problems) {
    let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
    let lines = text.lines().count();
    if lines > LINES_MAX && !is_test {
        problems.push(format!("{name}: {lines} lines, where {LINES_MAX} are allowed; split it"));
    }
    // Two words, so that this file does not find itself.
    let unsafe_block = concat!("unsafe", " {");
    let has_block = text
        .lines()
        .map(str::trim_start)
        .any(|line| line.contains(unsafe_block) && !line.starts_with("//"));
    if has_block && !text.contains("// SAFETY:") {
        problems.push(format!("{name}: say in a `// SAFETY:` comment why the block is sound"));
    }
    decisions(name, text, problems);
    if !is_test && !text.trim_start().starts_with("//!") && !text.trim().is_empty() {
        problems.push(format!("{name}: open with a `//!` comment that says what it is for"));
    }
}

/// What decides knows values alone: neither files nor a clock.
fn decisions(name: &str, text: &str, problems: &mut Problems) {
    let decides = name.starts_with("host-deploy/src/")
        && !name.ends_with("/tests.rs")
        && name != "host-deploy/src/storage/embedded.rs";
    let words = ["std::fs", "std::net", "Instant::now", "SystemTime", "tokio::time", "tokio::fs"];
    let code = || text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    for word in words {
        if decides && code().any(|line| line.contains(word)) {
            problems.push(format!("{name}: `{word}`, where decisions take values; hand it in"));
        }
    }
}

/// A test guest that no test names shows nothing. Names stand as strings or in paths.
pub(super) fn tested(guest: &str, tests: &str, problems: &mut Problems) {
    let is_named = tests.match_indices(guest).any(|(at, _)| {
        let (before, after) = (&tests[..at], &tests[at + guest.len()..]);
        before.ends_with(['"', '/']) && after.starts_with(['"', '/', '.'])
    });
    if !is_named {
        problems.push(format!("plugins/test-guests/{guest}: no test of the host names it"));
    }
}

fn names_of_functions(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("fn ").skip(1);
    after.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
}

/// The manuals of errors and of attacks name the tests that show each: they have to be there.
pub(super) fn shown(
    manual: &str,
    text: &str,
    functions: &HashSet<String>,
    problems: &mut Problems,
) {
    for word in text.split('`').skip(1).step_by(2) {
        // Names of tests are sentences; no other word there is.
        let is_test = word.matches('_').count() > 2 && !word.contains(['/', '.', ' ']);
        if is_test && !functions.contains(word) {
            problems.push(format!("{manual}: there is no test `{word}`"));
        }
    }
}
