//! `plugin-host doctor`.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use host::{EngineSettings, Explain};
use serde::Serialize;

use super::say;

/// Check what a host needs of this machine, and what building plugins needs.
///
/// Exits with 1 if something that a host needs is missing.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    /// The directory with the plugins.
    #[arg(long, value_name = "DIR", default_value = "dist/plugins", env = "PLUGIN_HOST_PLUGINS")]
    plugins: PathBuf,
    /// Where the host keeps what must outlive it.
    #[arg(long, value_name = "DIR", default_value = "data", env = "PLUGIN_HOST_DATA")]
    data_dir: PathBuf,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    /// `ok`, `warning` (only building plugins needs it) or `failed`.
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

#[derive(Serialize, PartialEq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    Warning,
    Failed,
}

impl Check {
    fn new(
        name: &'static str,
        found: Result<String, String>,
        otherwise: State,
        remedy: &'static str,
    ) -> Self {
        match found {
            Ok(found) => Self { name, state: State::Ok, found, remedy: None },
            Err(found) => Self { name, state: otherwise, found, remedy: Some(remedy) },
        }
    }
}

impl Doctor {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let checks = [
            Check::new(
                "engine",
                engine(),
                State::Failed,
                "raise the limit on address space (`ulimit -v`), or lower the host's pool settings",
            ),
            Check::new(
                "address-space",
                address_space(),
                State::Failed,
                "raise the limit on address space: `ulimit -v unlimited`",
            ),
            Check::new(
                "data-dir",
                writable(&self.data_dir),
                State::Failed,
                "give the host a directory that it may write to, with `--data-dir`",
            ),
            Check::new(
                "plugins",
                readable(&self.plugins),
                State::Warning,
                "build the plugins: `cargo xtask build-plugins`",
            ),
            Check::new(
                "rustc",
                version("rustc"),
                State::Warning,
                "install Rust with rustup, to build plugins",
            ),
            Check::new(
                "wasm32-wasip2",
                wasm_target(),
                State::Warning,
                "rustup target add wasm32-wasip2",
            ),
        ];
        let failed = checks.iter().any(|check| check.state == State::Failed);
        if json {
            say(&format!("{}", serde_json::json!({ "healthy": !failed, "checks": checks })));
        } else {
            for check in &checks {
                let state = match check.state {
                    State::Ok => "ok",
                    State::Warning => "warning",
                    State::Failed => "FAILED",
                };
                say(&format!("{:<14} {state:<8} {}", check.name, check.found));
                if let Some(remedy) = check.remedy {
                    say(&format!("{:<14} {:<8} help: {remedy}", "", ""));
                }
            }
        }
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Really sets the engines up, as a host would.
fn engine() -> Result<String, String> {
    let settings = EngineSettings::default();
    let found = format!(
        "wasmtime {}, tick {} ms, {} instances, guest stack {} KiB",
        host::engine_version(),
        settings.tick.as_millis(),
        settings.pool.instances,
        settings.wasm_stack_bytes >> 10
    );
    match host::check_engine(settings) {
        Ok(()) => Ok(found),
        Err(error) => Err(format!("{}: {}", error.code(), host::chain(&error))),
    }
}

/// What the two pools set aside, against what the process may have.
fn address_space() -> Result<String, String> {
    let wanted = 2 * EngineSettings::default().pool.address_space_bytes();
    let found = format!("{} GiB wanted for the pools", wanted >> 30);
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else { return Ok(found) };
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space"))
        .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    match limit {
        Some(limit) if limit < wanted => Err(format!("{found}, {} GiB allowed", limit >> 30)),
        _ => Ok(found),
    }
}

fn writable(directory: &Path) -> Result<String, String> {
    let shown = directory.display();
    let existing = directory.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = existing.join(format!(".plugin-host-doctor-{}", std::process::id()));
    let tried = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) if existing == directory => Ok(format!("{shown} can be written to")),
        Ok(()) => Ok(format!("{shown} can be made")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn readable(directory: &Path) -> Result<String, String> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(format!("{}: {} entries", directory.display(), entries.count())),
        Err(error) => Err(format!("{}: {error}", directory.display())),
    }
}

fn version(program: &str) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => Err(format!("{program} ended with {}", output.status)),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn wasm_target() -> Result<String, String> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-wasip2"])
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if directory.is_dir() { Ok("installed".to_owned()) } else { Err("not installed".to_owned()) }
}
