//! Where plugins are and how they are run: the same for all commands.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use host::{
    CacheSettings, CodeSettings, EngineSettings, HelperProgram, HostConfig, PluginHost,
    PluginHostBuilder,
};

use plugin_contract::EnvName;

use super::CliError;

/// Which plugins, and on which terms.
#[derive(Args)]
pub(crate) struct PluginArgs {
    /// The directory with the plugins.
    #[arg(long, value_name = "DIR", default_value = "dist/plugins", env = "PLUGIN_HOST_PLUGINS")]
    pub(crate) plugins: PathBuf,
    #[command(flatten)]
    host: HostArgs,
}

/// On which terms plugins run.
#[derive(Args)]
pub(crate) struct HostArgs {
    /// What the operator decides, as TOML.
    #[arg(long, visible_alias = "policy", value_name = "FILE", env = "PLUGIN_HOST_CONFIG")]
    config: Option<PathBuf>,
    /// An environment variable that plugins which ask for it are given. Without a value: the host's own.
    #[arg(long = "grant-env", value_name = "NAME[=VALUE]", value_parser = env_grant)]
    grant_env: Vec<(EnvName, String)>,
    /// Longest time to compile one component. A helper process does it, and is killed then.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = plugin_contract::parse_duration)]
    compile_timeout: Duration,
    /// Most memory to compile one component.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = plugin_contract::parse_bytes)]
    compile_memory: u64,
    /// Where compiled code is kept; hosts may share it. Left out, it is in the data directory.
    #[arg(long, value_name = "DIR", env = "PLUGIN_HOST_CODE")]
    code_dir: Option<PathBuf>,
    /// Most room for compiled code.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = plugin_contract::parse_bytes)]
    code_size: u64,
    /// Where guests that trap leave their memory and stack, for debuggers. It holds what they knew.
    #[arg(long, value_name = "DIR")]
    coredump_dir: Option<PathBuf>,
}

/// Compiled code of all plugins is kept here, within a data directory.
const CODE_DIRECTORY: &str = "code";

impl PluginArgs {
    /// A host with the plugins of the directory.
    pub(crate) fn builder(&self, data_dir: Option<&Path>) -> Result<PluginHostBuilder, CliError> {
        Ok(self.host.builder(data_dir)?.plugins(&self.plugins))
    }

    /// A host without plugins.
    pub(crate) fn empty(&self, data_dir: Option<&Path>) -> Result<PluginHostBuilder, CliError> {
        self.host.builder(data_dir)
    }
}

impl HostArgs {
    fn builder(&self, data_dir: Option<&Path>) -> Result<PluginHostBuilder, CliError> {
        let mut engine = EngineSettings::default();
        engine.coredumps = self.coredump_dir.clone();
        let mut builder = PluginHost::builder().engine(engine).code(self.code(data_dir)?);
        if let Some(config) = &self.config {
            builder = builder.config(HostConfig::read(config)?);
        }
        for (name, value) in &self.grant_env {
            builder = builder.grant_env(name.clone(), value.clone());
        }
        if let Some(directory) = data_dir {
            builder = builder.data_dir(directory);
        }
        Ok(builder)
    }

    fn code(&self, data_dir: Option<&Path>) -> Result<CodeSettings, CliError> {
        let mut code = CodeSettings::default();
        let helper = HelperProgram::this_program(["compile".into()]);
        let helper = helper.map_err(|error| CliError::file(Path::new("plugin-host"), &error))?;
        code.compiler.helper = Some(helper);
        code.compiler.timeout = self.compile_timeout;
        code.compiler.memory_bytes_max = self.compile_memory;
        let within = data_dir.map(|directory| directory.join(CODE_DIRECTORY));
        code.cache = self.code_dir.clone().or(within).map(|directory| {
            let mut cache = CacheSettings::new(directory);
            cache.bytes_max = self.code_size;
            cache
        });
        Ok(code)
    }
}

fn env_grant(text: &str) -> Result<(EnvName, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.parse()?, value.to_owned())),
        None => match std::env::var(text) {
            Ok(value) => Ok((text.parse()?, value)),
            Err(_) => Err(format!("the host has no variable `{text}`: write `{text}=VALUE`")),
        },
    }
}
