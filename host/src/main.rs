//! The `plugin-host` program. This file only dispatches; each command has a file of its own.

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::logging(&cli);
    let json = cli.json;
    match cli.run().await {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error.render(json));
            ExitCode::FAILURE
        }
    }
}
