//! The `plugin-host` program. This file only dispatches; each command has a file of its own.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// glibc keeps what a burst of large texts took, 139 MB in place of 21 MB, unless it is told at its start that
/// large pieces go back to the system; and only the environment can tell it. So the program starts once more.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn tell_allocator() {
    use std::{env, os::unix::process::CommandExt, process::Command};
    const NAME: &str = "MALLOC_MMAP_THRESHOLD_";
    if env::var_os(NAME).is_some() {
        return;
    }
    if let Ok(program) = env::current_exe() {
        // It comes back only if that failed: then it goes on as it is.
        let _ = Command::new(program).args(env::args_os().skip(1)).env(NAME, "1048576").exec();
    }
}

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if cli.runs_long() {
        tell_allocator();
    }
    // The helper that compiles limits itself before it does anything else: no threads, no log.
    let cli = match cli.into_helper() {
        Ok(helper) => return helper.run(),
        Err(cli) => *cli,
    };
    let _logging = cli::logging(&cli);
    dispatch(cli)
}

#[tokio::main]
async fn dispatch(cli: cli::Cli) -> ExitCode {
    let json = cli.json;
    match cli.run().await {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error.render(json));
            ExitCode::FAILURE
        }
    }
}
