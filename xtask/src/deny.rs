//! `cargo xtask deny`: what the dependencies are allowed to be.

use std::path::Path;

use xshell::cmd;

use crate::toolchain;

/// Checks licences, sources and known vulnerabilities of all dependencies, by `deny.toml`.
#[derive(clap::Args)]
pub(crate) struct Deny {
    /// Install cargo-deny first, if it is not there. It takes minutes to compile.
    #[arg(long)]
    install: bool,
}

impl Deny {
    /// Without cargo-deny nothing is checked, which is said and is no error.
    ///
    /// # Errors
    /// If a dependency is refused.
    pub(crate) fn run(self, sh: &xshell::Shell, _root: &Path) -> anyhow::Result<()> {
        let cargo = toolchain::cargo();
        let is_there = || cmd!(sh, "{cargo} deny --version").quiet().ignore_stderr().read().is_ok();
        if !is_there() {
            if !self.install {
                eprintln!(
                    "cargo-deny is not installed: nothing is checked; \
                     `cargo xtask deny --install` installs it"
                );
                return Ok(());
            }
            toolchain::apart(cmd!(sh, "{cargo} install cargo-deny --locked")).run()?;
        }

        // The database of advisories is a git repository of its own, which not every network lets
        // through. Everything else can be told from what is on the disk.
        let fetched = cmd!(sh, "{cargo} deny fetch db").quiet().ignore_stderr().run().is_ok();
        if !fetched {
            eprintln!("the advisory database cannot be fetched: advisories are not checked");
        }
        let advisories = fetched.then_some("advisories");
        for manifest in ["Cargo.toml", "plugins/Cargo.toml"] {
            cmd!(
                sh,
                "{cargo} deny --manifest-path {manifest} --config deny.toml check
                 bans licenses sources {advisories...}"
            )
            .run()?;
        }
        Ok(())
    }
}
