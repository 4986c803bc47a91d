//! `cargo xtask tidy`: what the compiler does not check.
//!
//! Each rule is a function from the repository to the problems it found; a problem names the file
//! and what to do. The same rules run as a test, so `cargo test` finds them too.

mod crates;
mod sources;

use std::{fmt::Write, path::Path};

use plugin_contract::Explain;

use crate::check_wit;

/// Checks the rules of this repository that the compiler does not know.
#[derive(clap::Args)]
pub(crate) struct Tidy {}

impl Tidy {
    /// # Errors
    /// [`TidyError`] with everything found, or what [`check_wit`] refuses.
    pub(crate) fn run(self, _sh: &xshell::Shell, root: &Path) -> anyhow::Result<()> {
        check(root)?;
        println!("tidy: contracts, crate edges, lints, code map, sources, guests, errors");
        Ok(())
    }
}

/// Runs all rules.
///
/// # Errors
/// [`TidyError`] with everything found, or what [`check_wit`] refuses.
fn check(root: &Path) -> anyhow::Result<()> {
    check_wit::check(&root.join("wit"))?;
    let mut problems = Problems::default();
    crates::check(root, &mut problems)?;
    sources::check(root, &mut problems)?;
    if problems.0.is_empty() { Ok(()) } else { Err(TidyError(problems).into()) }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn push(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }
}

/// The repository breaks some of its own rules.
#[derive(Debug, thiserror::Error)]
#[error("the repository is not tidy{}", list(&.0.0))]
pub(crate) struct TidyError(Problems);

fn list(problems: &[String]) -> String {
    let mut text = String::new();
    for problem in problems {
        _ = write!(text, "\n  {problem}");
    }
    text
}

impl Explain for TidyError {
    fn code(&self) -> &'static str {
        "tidy/broken-rule"
    }

    fn remedy(&self) -> &'static str {
        "mend what each line names"
    }
}

#[cfg(test)]
mod tests;
