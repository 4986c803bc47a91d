//! `plugin-host deploy`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use host::documents::DeployedDocument;
use plugin_contract::ReadLimits;

use super::{
    CliError, artifacts,
    remote::{ChangeArgs, plain},
    say,
};

/// Give a host a version of a plugin: its folder, or its component.
///
/// The host checks it: whether it is signed where it has to be, whether it fits the host and what it depends
/// on, what it changes for callers, what it asks for beyond the version that serves, and whether it starts.
/// The first version of a plugin serves at once; any other waits for `canary` or `activate`.
#[derive(clap::Args)]
pub(crate) struct Deploy {
    /// The plugin's folder, or its component.
    path: PathBuf,
    /// Have it answer all calls at once.
    #[arg(long, conflicts_with = "stage")]
    activate: bool,
    /// Have it wait, even if it is the first version.
    #[arg(long)]
    stage: bool,
    /// Take it though a newer version serves.
    #[arg(long)]
    allow_downgrade: bool,
    /// Take it though callers of the version that serves cannot live with it.
    #[arg(long)]
    allow_breaking: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

impl Deploy {
    pub(crate) async fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let (media_type, body) = pack(&self.path)?;
        let flags = [
            (self.activate, ("then", "activate")),
            (self.stage, ("then", "stage")),
            (self.allow_downgrade, ("allow-downgrade", "true")),
            (self.allow_breaking, ("allow-breaking", "true")),
        ];
        let query: Vec<_> = flags.into_iter().filter(|(is, _)| *is).map(|(_, pair)| pair).collect();
        let remote = self.change.connect()?;
        let deployed: DeployedDocument = remote.upload(&query, media_type, body).await?;
        say(&if json { serde_json::json!(deployed).to_string() } else { plain(&deployed.text()) });
        Ok(ExitCode::SUCCESS)
    }
}

/// A plugin, as it is sent: a folder as an archive, and so is a component with a signature beside it.
fn pack(path: &Path) -> Result<(&'static str, Vec<u8>), CliError> {
    let components = artifacts::components(path)?;
    let [component] = components.as_slice() else {
        return Err(CliError::new(
            format!("there are {} plugins in `{}`", components.len(), artifacts::shown(path)),
            "host/several-plugins",
            "name the folder or the component of one",
        ));
    };
    let read = |path: &Path| host_core::read_file(path, ReadLimits::default().bytes_max);
    let bytes = read(component)?;
    let signature = artifacts::signature_path(component);
    if !path.is_dir() && !signature.is_file() {
        return Ok(("application/wasm", bytes));
    }
    let failed = |error: std::io::Error| CliError::file(path, &error);
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |file: &Path, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, file.file_name().unwrap_or_default(), bytes)
            .map_err(failed)
    };
    let manifest = path.join("plugin.toml");
    if path.is_dir() && manifest.is_file() {
        add(&manifest, &read(&manifest)?)?;
    }
    add(component, &bytes)?;
    if signature.is_file() {
        add(&signature, &read(&signature)?)?;
    }
    Ok(("application/x-tar", archive.into_inner().map_err(failed)?))
}
