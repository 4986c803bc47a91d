//! `plugin-host serve`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use super::{CliError, PluginArgs, try_say};
use host::{
    WatchSettings,
    documents::{Detail, ListDocument},
    http::{HttpSettings, Server},
};

/// Load the plugins of a directory and answer calls over HTTP.
///
/// Stops in good order on SIGTERM and Ctrl-C: calls under way end first.
#[derive(clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    plugins: PluginArgs,
    /// Where to listen. Port 0 takes a free one. Calls need no token, so nothing but the address keeps
    /// strangers from making them: think twice before you leave loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420", env = "PLUGIN_HOST_LISTEN")]
    listen: SocketAddr,
    /// Where the host keeps what must outlive it. One host at a time.
    #[arg(long, value_name = "DIR", default_value = "data", env = "PLUGIN_HOST_DATA")]
    data_dir: PathBuf,
    /// Largest request body.
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = plugin_contract::parse_bytes)]
    body_limit: u64,
    /// Time for a request body to arrive.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = plugin_contract::parse_duration)]
    body_timeout: Duration,
    /// Time for calls under way to end when the host stops.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = plugin_contract::parse_duration)]
    drain_timeout: Duration,
    /// Start plugins when they are first called, instead of all at once.
    #[arg(long)]
    lazy: bool,
    /// Have plugins that are new or changed in their directory serve as soon as their files are whole, without a
    /// restart. A plugin is started before it takes the place of its old revision, and calls under way end there; what
    /// is bad is logged and listed with its code, and the old revision serves on. What is deployed, or was
    /// unloaded, is left alone.
    #[arg(long)]
    watch: bool,
    /// A file with the token that operators show to deploy, start, unload and reload plugins. Without it
    /// nobody can, over HTTP.
    #[arg(long, value_name = "FILE", env = "PLUGIN_HOST_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
}

/// A token is 16 to 512 printable characters, without spaces.
pub(super) fn read_token(path: &Path) -> Result<String, CliError> {
    let bytes = host_core::read_file(path, 1 << 10)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim();
    if !(16..=512).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CliError::new(
            format!("`{}` holds no token", plugin_contract::escape(&path.to_string_lossy(), 1_000)),
            "host/invalid-token",
            "write 16 to 512 printable characters into it, such as those of `openssl rand -hex 32`",
        ));
    }
    Ok(token.to_owned())
}

impl Serve {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let mut settings = HttpSettings::default();
        settings.body_bytes_max = usize::try_from(self.body_limit).unwrap_or(usize::MAX);
        settings.body_timeout = self.body_timeout;
        settings.drain_timeout = self.drain_timeout;
        settings.admin_token = self.admin_token_file.as_deref().map(read_token).transpose()?;
        open_more_files();
        // After all that may be wrong with the command line: this is what takes long.
        let host = self.plugins.builder(Some(&self.data_dir))?.lazy(self.lazy).build().await?;
        let _watching =
            self.watch.then(|| host.watch(self.plugins.plugins.clone(), WatchSettings::default()));
        let list = ListDocument::of(&host, Detail::Full);
        let server = Server::bind(host, settings, self.listen).await?;
        announce(&list, server.address(), json);
        server.run(stop()).await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Takes all the file handles that the system lets it have: plugins hold files and sockets, and connections
/// must find room beside them.
#[cfg(unix)]
fn open_more_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files could not be raised");
    }
}

#[cfg(not(unix))]
fn open_more_files() {}

/// Done at the first SIGTERM or Ctrl-C. The second ends the process at once.
async fn stop() {
    told_to_stop().await;
    tokio::spawn(async {
        told_to_stop().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn told_to_stop() {
    drop(tokio::signal::ctrl_c().await);
}

/// Says what serves and where. Whether anybody reads it is no matter to those who call.
fn announce(list: &ListDocument, address: SocketAddr, json: bool) {
    let text = if json {
        serde_json::json!({
            "listening": format!("http://{address}"),
            "plugins": list.plugins,
            "refused": list.refused,
        })
        .to_string()
    } else {
        format!("{}\n\nlistening on http://{address}\n{}", list.table(), suggestions(list, address))
    };
    let _ = try_say(&text);
}

/// Lines to try, for the plugins that are there.
fn suggestions(list: &ListDocument, address: SocketAddr) -> String {
    let lines = [
        (
            "image-processor",
            format!(
                "curl --data-binary @samples/photo.jpg -H 'content-type: image/jpeg' \
                 'http://{address}/v1/plugins/image-processor/process?width=320&height=240' -o out.jpg"
            ),
        ),
        (
            "text-transformer",
            format!(
                "curl --data-binary @samples/article.md -H 'content-type: text/markdown' \
                 'http://{address}/v1/plugins/text-transformer/process?ops=markdown'"
            ),
        ),
        (
            "log-enricher",
            format!(
                "curl --data-binary 'level=info user=ann password=hunter2' -H 'content-type: text/plain' \
                 'http://{address}/v1/events?type=log.line' && curl 'http://{address}/v1/events'"
            ),
        ),
    ];
    let serves = |name: &str| list.plugins.iter().any(|plugin| plugin.name == name);
    let lines = lines.into_iter().filter(|(name, _)| serves(name)).map(|(_, line)| line);
    let all = lines.chain([format!("curl http://{address}/v1/plugins")]);
    all.fold("try:".to_owned(), |text, line| format!("{text}\n  {line}"))
}
