//! The `plugin-host` program. This file only dispatches; each command has a file of its own.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The helper that compiles limits itself before it does anything else: no threads, no log.
    let cli = match cli.into_helper() {
        Ok(helper) => return helper.run(),
        Err(cli) => *cli,
    };
    cli::logging(&cli);
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
