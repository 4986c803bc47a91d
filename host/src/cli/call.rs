//! `plugin-host call`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use host::{Caller, FunctionCall, HostError, JsonCall, PluginHost, PluginRef};

use super::{CliError, PluginArgs, run, say};

/// Longest result that is shown, in bytes.
const RESULT_BYTES_MAX: usize = 16 << 20;

/// Call a function that a plugin exports, by its name: of any component, whether its world is known here
/// or not.
///
/// Without a function, lists those that there are.
#[derive(clap::Args)]
pub(crate) struct Call {
    /// The plugin, as `NAME` or `NAME@VERSION`; or a component file, as a path with a `/` or `.wasm`.
    plugin: String,
    /// `interface#function(1, "two", [3])`, or `function(..)` for one outside of any interface; arguments
    /// in WAVE. With `--args`, the name alone.
    function: Option<String>,
    /// The arguments, as a JSON array.
    #[arg(long, value_name = "JSON", requires = "function")]
    args: Option<String>,
    #[command(flatten)]
    plugins: PluginArgs,
    /// Where the plugin's configuration and compiled code are kept. Left out, nothing is.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Call {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let (host, plugin) = self.host().await?;
        let answer = self.ask(&host, &plugin, json).await;
        host.shutdown(Duration::from_secs(5)).await;
        say(&answer?);
        Ok(ExitCode::SUCCESS)
    }

    /// A host with the plugin in it.
    async fn host(&self) -> Result<(PluginHost, PluginRef), CliError> {
        let is_file = self.plugin.contains('/') || self.plugin.ends_with(".wasm");
        let data_dir = self.data_dir.as_deref();
        if is_file {
            let path = Path::new(&self.plugin);
            let builder = self.plugins.empty(data_dir)?.unnamed(true);
            let host = builder.plugins(path).build().await?;
            if let Some(refused) = host.refused().first() {
                return Err(CliError::from_ref(&refused.error));
            }
            let Some(plugin) = host.plugins().into_iter().next() else {
                let problem = format!("there is no component at `{}`", self.plugin);
                return Err(CliError::new(problem, "host/file", "name a component file"));
            };
            return Ok((host, plugin.name.into()));
        }
        let plugin: PluginRef = self.plugin.parse().map_err(HostError::from)?;
        let host = self.plugins.builder(data_dir)?.only(plugin.name.clone()).build().await?;
        if host.plugin(&plugin).is_err()
            && let Some(refused) = run::refused(&host, &plugin)
        {
            return Err(refused);
        }
        Ok((host, plugin))
    }

    async fn ask(
        &self,
        host: &PluginHost,
        plugin: &PluginRef,
        json: bool,
    ) -> Result<String, CliError> {
        let Some(function) = &self.function else {
            let functions = host.functions(plugin).await?;
            let lines: Vec<String> = functions.iter().map(ToString::to_string).collect();
            return Ok(if json { serde_json::json!(lines).to_string() } else { lines.join("\n") });
        };
        let call = match &self.args {
            None => FunctionCall::Text(function.clone()),
            Some(args) => FunctionCall::Json(JsonCall {
                function: function.clone(),
                args: serde_json::from_str(args).map_err(|error| {
                    let remedy = "write the arguments as a JSON array: `[1, \"two\"]`";
                    CliError::new(format!("`--args`: {error}"), "core/invalid-arguments", remedy)
                })?,
            }),
        };
        let caller = Caller::new("call".into());
        let reply = host.call(plugin, &caller, &call).await?;
        Ok(match json || self.args.is_some() {
            true => reply.into_json().unwrap_or_default().to_string(),
            false => reply.wave(RESULT_BYTES_MAX).unwrap_or_default(),
        })
    }
}
