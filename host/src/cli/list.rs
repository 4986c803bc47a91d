//! `plugin-host list`.

use std::{process::ExitCode, time::Duration};

use host::documents::{Detail, ListDocument};

use super::{CliError, PluginArgs, say};

/// List the plugins of a directory: those that would serve, and those that would not, and why.
///
/// Each is really loaded, in a host of its own.
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    plugins: PluginArgs,
}

impl List {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let host = self.plugins.builder(None)?.build().await?;
        let list = ListDocument::of(&host, Detail::Full);
        host.shutdown(Duration::from_secs(5)).await;
        let text = if json { serde_json::json!(list).to_string() } else { list.table() };
        say(&text);
        Ok(ExitCode::SUCCESS)
    }
}
