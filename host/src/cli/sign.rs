//! `plugin-host sign`.

use std::{path::PathBuf, process::ExitCode};

use host_security::sign::SigningKey;
use serde_json::json;

use super::{
    CliError,
    artifacts::{components, digest, shown, signature_path},
    say,
};

/// Vouch for components: writes FILE.wasm.sig beside each.
#[derive(clap::Args)]
pub(crate) struct Sign {
    /// A component file, the folder of a plugin, or a directory of plugins.
    path: PathBuf,
    /// The private key, as `plugin-host key generate` wrote it.
    #[arg(long, value_name = "FILE", env = "PLUGIN_HOST_SIGNING_KEY")]
    key: PathBuf,
}

impl Sign {
    pub(crate) fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let key = SigningKey::read(&self.key)?;
        let mut signed = Vec::new();
        for component in components(&self.path)? {
            let digest = digest(&component)?;
            let path = signature_path(&component);
            key.sign(&digest).write(&path)?;
            signed.push((component, digest, path));
        }
        let id = key.public().id().to_string();
        if json {
            let signed: Vec<_> = (signed.iter())
                .map(|(component, digest, path)| {
                    json!({ "file": component, "digest": digest, "signature": path })
                })
                .collect();
            say(&json!({ "key-id": id, "signed": signed }).to_string());
        } else {
            for (_, digest, path) in &signed {
                say(&format!("{}  {digest}  key {id}", shown(path)));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
