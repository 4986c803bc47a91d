//! `plugin-host list`.

use std::{process::ExitCode, time::Duration};

use host::documents::{Detail, ListDocument};
use serde_json::Value;

use super::{CliError, PluginArgs, remote, say};

/// List the plugins of a directory: those that would serve, and those that would not, and why.
///
/// Each is really loaded, in a host of its own. With `--server`, lists those of a host that serves.
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    plugins: PluginArgs,
    /// The host that serves, such as `http://127.0.0.1:7420`, in the place of a directory.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

impl List {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        if let Some(server) = &self.server {
            let list: Value = remote::get_public(server, "/v1/plugins").await?;
            say(&if json { list.to_string() } else { table(&list) });
            return Ok(ExitCode::SUCCESS);
        }
        let host = self.plugins.builder(None)?.build().await?;
        let list = ListDocument::of(&host, Detail::Full);
        host.shutdown(Duration::from_secs(5)).await;
        let text = if json { serde_json::json!(list).to_string() } else { list.table() };
        say(&text);
        Ok(ExitCode::SUCCESS)
    }
}

/// What a host says of its plugins: a line for each. `*` marks the version that answers calls which name none.
fn table(list: &Value) -> String {
    let text = |value: &Value, field: &str, bytes_max| {
        plugin_contract::escape(value[field].as_str().unwrap_or("-"), bytes_max)
    };
    let each = |field: &str| list[field].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for plugin in each("plugins") {
        let mark = if plugin["default"] == true { "*" } else { " " };
        let (name, version) = (text(&plugin, "name", 64), text(&plugin, "version", 64));
        let (state, world) = (text(&plugin, "state", 32), text(&plugin, "world", 64));
        let description = plugin["description"].as_str().unwrap_or_default();
        let description = plugin_contract::escape(description, 100);
        let line = format!("{name:<24} {version:<10}{mark} {state:<12} {world:<26} {description}");
        lines.push(line.trim_end().to_owned());
    }
    for refused in each("refused") {
        let (path, code) = (text(&refused, "path", 200), text(&refused, "code", 64));
        lines.push(format!("{path:<24} refused     {code}: {}", text(&refused, "message", 500)));
        lines.push(format!("{:<24}             help: {}", "", text(&refused, "remedy", 500)));
    }
    match lines.is_empty() {
        true => "no plugin serves".to_owned(),
        false => lines.join("\n"),
    }
}
