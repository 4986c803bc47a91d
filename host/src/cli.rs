//! The command line.

mod args;
mod artifacts;
mod audit;
mod call;
mod compile;
mod deploy;
mod doctor;
mod error;
mod inspect;
mod key;
mod list;
mod logging;
mod remote;
mod run;
mod serve;
mod sign;
mod verify;
mod versions;

use std::{
    io::{ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

pub(crate) use args::PluginArgs;
pub(crate) use error::CliError;
pub(crate) use logging::logging;

/// Runs plugins: WebAssembly components, each within the authority it was granted.
///
/// Exits with 0 if all went well, 1 if something failed or was refused, 2 if the command line makes
/// no sense.
#[derive(Parser)]
#[command(name = "plugin-host", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Answer in JSON, errors included.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The form of log lines, which go to standard error. `RUST_LOG` chooses which.
    #[arg(long, global = true, value_enum, default_value_t = LogForm::Text)]
    log: LogForm,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogForm {
    /// For people.
    Text,
    /// For programs, a JSON document a line.
    Json,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Run(run::Run),
    Call(call::Call),
    Inspect(inspect::Inspect),
    List(list::List),
    Deploy(deploy::Deploy),
    Approve(versions::Approve),
    Activate(versions::Activate),
    Canary(versions::Canary),
    Promote(versions::Promote),
    Rollback(versions::Rollback),
    Shadow(versions::Shadow),
    Rollout(versions::Rollout),
    History(versions::History),
    Audit(audit::Audit),
    Key(key::Key),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Doctor(doctor::Doctor),
    #[command(hide = true)]
    Compile(compile::Compile),
    /// Write completions for a shell to standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// The helper that compiles, if that is what was asked for.
    pub(crate) fn into_helper(self) -> Result<compile::Compile, Box<Self>> {
        match self.command {
            Command::Compile(compile) => Ok(compile),
            _ => Err(Box::new(self)),
        }
    }

    /// Whether the program serves until it is told to stop.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    pub(crate) fn runs_long(&self) -> bool {
        matches!(self.command, Command::Serve(_))
    }

    pub(crate) async fn run(self) -> Result<ExitCode, CliError> {
        let json = self.json;
        match self.command {
            Command::Serve(serve) => serve.run(json).await,
            Command::Run(run) => run.run(json).await,
            Command::Call(call) => call.run(json).await,
            Command::Inspect(inspect) => inspect.run(json).await,
            Command::List(list) => list.run(json).await,
            Command::Deploy(deploy) => deploy.run(json).await,
            Command::Approve(approve) => approve.run(json).await,
            Command::Activate(activate) => activate.run(json).await,
            Command::Canary(canary) => canary.run(json).await,
            Command::Promote(promote) => promote.run(json).await,
            Command::Rollback(rollback) => rollback.run(json).await,
            Command::Shadow(shadow) => shadow.run(json).await,
            Command::Rollout(rollout) => rollout.run(json).await,
            Command::History(history) => history.run(json).await,
            Command::Audit(audit) => audit.run(json).await,
            Command::Key(key) => key.run(json),
            Command::Sign(sign) => sign.run(json),
            Command::Verify(verify) => verify.run(json),
            Command::Doctor(doctor) => Ok(doctor.run(json)),
            // Taken out before: see `into_helper`.
            Command::Compile(compile) => Ok(compile.run()),
            Command::Completions { shell } => {
                let mut command = Cli::command();
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, "plugin-host", &mut script);
                say(&String::from_utf8_lossy(&script));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// Writes the answer of a command to standard output. A reader that has seen enough ends the program in
/// peace; an answer that cannot be written is a failure.
pub(crate) fn say(text: &str) {
    match try_say(text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            let path = Path::new("standard output");
            complain(&CliError::file(path, &error).render(false));
            std::process::exit(1);
        }
    }
}

/// The same, for programs that have more to do than to answer.
pub(crate) fn try_say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes to standard error, if anyone is there to read it.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
