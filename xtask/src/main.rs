//! The commands contributors type: `cargo xtask <command>`.
//!
//! Each command is one file with one `run`; this one only dispatches and prints errors. Nothing here
//! depends on wasmtime, so the tool itself builds in seconds.

mod bench;
mod build_plugins;
mod check_wit;
mod deny;
mod e2e;
mod fuzz;
mod report;
mod serve;
mod soak;
mod test;
mod tidy;
mod toolchain;
mod wit;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The commands contributors type")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    BuildPlugins(build_plugins::BuildPlugins),
    Serve(serve::Serve),
    Test(test::Test),
    E2e(e2e::E2e),
    Bench(bench::Bench),
    Soak(soak::Soak),
    Fuzz(fuzz::Fuzz),
    CheckWit(check_wit::CheckWit),
    Tidy(tidy::Tidy),
    Deny(deny::Deny),
}

fn main() -> ExitCode {
    if let Some(exit) = build_plugins::wrapper::run_if_asked() {
        return exit;
    }
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", report::describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    let root = root();
    let sh = xshell::Shell::new()?;
    sh.change_dir(&root);
    match command {
        Command::BuildPlugins(command) => command.run(&sh, &root),
        Command::Serve(command) => command.run(&sh, &root),
        Command::Test(command) => command.run(&sh, &root),
        Command::E2e(command) => command.run(&sh, &root),
        Command::Bench(command) => command.run(&sh, &root),
        Command::Soak(command) => command.run(&sh, &root),
        Command::Fuzz(command) => command.run(&sh, &root),
        Command::CheckWit(command) => command.run(&sh, &root),
        Command::Tidy(command) => command.run(&sh, &root),
        Command::Deny(command) => command.run(&sh, &root),
    }
}

/// The root of the repository: where this crate's directory is, as cargo knows it now, or as it was
/// when the tool was built.
fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .filter(|dir| Path::new(dir).ends_with("xtask"))
        .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().expect("this crate is in a directory of the repository").to_owned()
}
