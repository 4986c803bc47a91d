//! `plugin-host list`.

use std::{process::ExitCode, time::Duration};

use host::{
    PluginHost,
    documents::{Detail, ListDocument},
};

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
        let host = PluginHost::builder()
            .plugins(&self.plugins.plugins)
            .policy(self.plugins.policy())
            .build()
            .await?;
        let list = ListDocument::of(&host, Detail::Full);
        host.shutdown(Duration::from_secs(5)).await;
        if json {
            say(&format!("{}", serde_json::json!(list)));
            return Ok(ExitCode::SUCCESS);
        }
        for plugin in &list.plugins {
            let description = plugin.description.as_deref().unwrap_or_default();
            let description = plugin_contract::escape(description, 100);
            say(&format!(
                "{:<24} {:<10} {:<26} {description}",
                plugin.name, plugin.version, plugin.world
            ));
        }
        for refused in &list.refused {
            say(&format!("{:<24} refused    {}: {}", refused.path, refused.code, refused.message));
            say(&format!("{:<24}            help: {}", "", refused.remedy));
        }
        Ok(ExitCode::SUCCESS)
    }
}
