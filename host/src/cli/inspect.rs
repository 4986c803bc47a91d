//! `plugin-host inspect`.

use std::{path::PathBuf, process::ExitCode};

use host::{Inspection, inspect};
use plugin_contract::escape;

use super::{CliError, PluginArgs, say};

/// Show what a component is, what it asks for, and whether this host would load it.
///
/// Exits with 1 if it would not.
#[derive(clap::Args)]
pub(crate) struct Inspect {
    /// A component file, or the folder of a plugin.
    file: PathBuf,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Inspect {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let seen = inspect(&self.file, &self.plugins.empty(None)?).await?;
        if json {
            say(&format!("{}", serde_json::json!(seen)));
        } else {
            say(render(&seen).trim_end());
        }
        Ok(if seen.verdict.loads { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn render(seen: &Inspection) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.push_str(&format!("{name:<12} {value}\n"));
        }
    };
    line("file", Some(seen.path.clone()));
    let version = seen.version.as_deref().unwrap_or("?");
    line("plugin", seen.plugin.as_ref().map(|plugin| format!("{plugin} {version}")));
    line("world", seen.world.map(|world| world.to_string()));
    line("contract", seen.contract.clone());
    line("lane", seen.lane.map(str::to_owned));
    line("size", seen.bytes.map(|bytes| format!("{bytes} bytes")));
    line("digest", seen.digest.clone());
    line(
        "inside",
        seen.counts.as_ref().map(|counts| {
            format!(
                "{} modules, {} components, {} functions",
                counts.modules, counts.components, counts.functions
            )
        }),
    );
    let mut list = |name: &str, values: &[String]| {
        for (at, value) in values.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            out.push_str(&format!("{name:<12} {}\n", escape(value, 300)));
        }
    };
    list("imports", &seen.imports);
    list("exports", &seen.exports);
    list("functions", &seen.functions);
    list("permissions", &seen.permissions);
    list("producers", &seen.producers);
    let verdict = &seen.verdict;
    match (verdict.loads, &verdict.message, verdict.code, verdict.remedy) {
        (false, Some(message), Some(code), Some(remedy)) => {
            out.push_str(&format!(
                "verdict      refused: {message}\ncode         {code}\nhelp         {remedy}\n"
            ));
        }
        _ => out.push_str("verdict      this host would load it\n"),
    }
    out
}
