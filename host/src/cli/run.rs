//! `plugin-host run`.

mod streaming;

use std::{
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use host::{Caller, HostError, Learned, Operation, PluginHost, PluginRef, ProcessCall, StreamCall};
use host_security::audit::Usage;

use super::{CliError, PluginArgs, say};

/// Have a plugin work on one input, without a server.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// The plugin, as `NAME` or `NAME@VERSION`.
    plugin: String,
    #[command(flatten)]
    plugins: PluginArgs,
    /// The input; `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Where the output goes; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// An option of the plugin's.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
    /// The media type of the input. Left out, it is told from the file's extension.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Show the smallest `[permissions]` for what the plugin did, in place of its output. It may do all that
    /// the policy allows, whether or not its manifest asks for it.
    #[arg(long)]
    learn: bool,
    /// Where the plugin's configuration and compiled code are kept. Left out, nothing is.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Run {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let plugin: PluginRef = self.plugin.parse().map_err(HostError::from)?;
        let mut builder = self.plugins.builder(self.data_dir.as_deref())?;
        if self.learn {
            builder = builder.learn(Usage::default());
        }
        let host = builder.only(plugin.name.clone()).build().await?;
        if host.plugin(&plugin).is_err()
            && let Some(refused) = refused(&host, &plugin)
        {
            return Err(refused);
        }
        let content_type = self.content_type.unwrap_or_else(|| {
            mime_guess::from_path(&self.input).first_or_octet_stream().essence_str().to_owned()
        });
        let caller = Caller::new("run".into());
        let offers = |operation| host.check_offers(&plugin, operation).is_ok();
        if offers(Operation::Transform) && !offers(Operation::Process) {
            let options = self.options;
            let call = StreamCall { caller, options, ..StreamCall::new(&content_type) };
            let piped = streaming::pipe(&host, &plugin, call, (&self.input, &self.output)).await;
            let learned = self.learn.then(|| host.learned(&plugin)).transpose()?;
            host.shutdown(Duration::from_secs(5)).await;
            if let Some(learned) = learned {
                tell_learned(&learned, json);
                return piped.map(|_| ExitCode::SUCCESS);
            }
            let (media_type, bytes) = piped?;
            tell_written(&self.output, &media_type, bytes, json, serde_json::json!({}));
            return Ok(ExitCode::SUCCESS);
        }
        let input = read(&self.input).map_err(|error| CliError::file(&self.input, &error))?;
        let mut call = ProcessCall::new(input, &content_type);
        call.caller = caller;
        call.options = self.options;
        let reply = host.process(&plugin, call).await;
        let learned = self.learn.then(|| host.learned(&plugin)).transpose()?;
        host.shutdown(Duration::from_secs(5)).await;
        if let Some(learned) = learned {
            tell_learned(&learned, json);
            // What was learnt is told even if the call failed: it may be the reason.
            let reply = reply?;
            if self.output != Path::new("-") {
                let written = write(&self.output, &reply.output);
                written.map_err(|error| CliError::file(&self.output, &error))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let reply = reply?;

        write(&self.output, &reply.output).map_err(|error| CliError::file(&self.output, &error))?;
        if let Some(warning) = &reply.warning {
            tracing::warn!("{}", plugin_contract::escape(warning, 500));
        }
        let more = serde_json::json!({
            "items-processed": reply.items_processed,
            "warning": reply.warning,
        });
        let bytes = reply.output.len() as u64;
        tell_written(&self.output, &reply.content_type, bytes, json, more);
        Ok(ExitCode::SUCCESS)
    }
}

fn tell_learned(learned: &Learned, json: bool) {
    match json {
        true => say(&serde_json::json!(learned).to_string()),
        false => say(learned.to_toml().trim_end()),
    }
}

/// What was written where; on standard output, only that itself.
fn tell_written(output: &Path, media_type: &str, bytes: u64, json: bool, more: serde_json::Value) {
    if output == Path::new("-") {
        return;
    }
    if !json {
        let media_type = plugin_contract::escape(media_type, 100);
        return say(&format!("{}: {bytes} bytes of {media_type}", output.display()));
    }
    let mut told =
        serde_json::json!({ "output": output, "bytes": bytes, "content-type": media_type });
    if let (Some(told), serde_json::Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more);
    }
    say(&told.to_string());
}

/// Why the plugin is not there, if it is in the directory at all. By the name of its folder or file:
/// the name inside may be just what could not be read.
pub(super) fn refused(host: &PluginHost, plugin: &PluginRef) -> Option<CliError> {
    let wanted = plugin.name.as_str();
    let refused = host.refused();
    let found = refused.iter().find(|refused| {
        refused.path.file_stem().is_some_and(|name| name.to_str() == Some(wanted))
    })?;
    Some(CliError::from_ref(&found.error))
}

/// Largest input, in bytes. A plugin's memory is smaller in any case.
const INPUT_BYTES_MAX: u64 = 1 << 30;

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an input holds at most 1 GiB"));
    }
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path != Path::new("-") {
        return std::fs::write(path, bytes);
    }
    let mut out = io::stdout().lock();
    if out.is_terminal() && std::str::from_utf8(bytes).is_err() {
        let problem = "the output is binary and would garble the terminal: use `--output FILE`";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    out.write_all(bytes)?;
    out.flush()
}
