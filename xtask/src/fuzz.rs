//! `cargo xtask fuzz`: files that nobody wrote on purpose, many of them.

use std::path::Path;

use xshell::cmd;

use crate::toolchain::{self, apart};

/// Runs the tests on random and changed files with many cases, some minutes for the default number.
#[derive(clap::Args)]
pub(crate) struct Fuzz {
    /// Cases of each kind.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    cases: u64,
    /// The number that the first case is made from; the next is made from the next. A case that fails says
    /// which it was: `--cases 1 --seed N` runs it again. Default: one that no run had before.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the kinds with this in their name, such as `fuzz::random_code`.
    #[arg(long, default_value = "fuzz::", value_name = "NAME")]
    only: String,
}

impl Fuzz {
    /// # Errors
    /// If something does not build, or a case fails.
    pub(crate) fn run(self, sh: &xshell::Shell, _root: &Path) -> anyhow::Result<()> {
        let (cargo, only, cases) = (toolchain::cargo(), &self.only, self.cases.to_string());
        let seed = self.seed.unwrap_or_else(new_seed).to_string();
        println!("{cases} cases of each kind, the first of seed {seed}");
        // One kind after another, or they would take the cores from each other and look as if they hung.
        // In the profile of all tests, which is built: what does the work is optimised there.
        let tests =
            cmd!(sh, "{cargo} test --workspace --test it -- {only} --test-threads 1 --nocapture");
        apart(tests).env("FUZZ_CASES", cases).env("FUZZ_SEED", seed).run()?;
        Ok(())
    }
}

/// The time, in seconds, and room after it for the cases of a run.
fn new_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_secs() << 20)
}
