//! `plugin-host verify`.

use std::{path::PathBuf, process::ExitCode};

use host::{Explain, HostConfig};
use host_security::sign::{PublicKey, SIGNATURE_BYTES_MAX, SignatureRefused, TrustPolicy};
use serde_json::json;

use super::{
    CliError,
    artifacts::{components, digest, shown, signature_path},
    say,
};

/// See who vouches for components.
///
/// Exits with 1 unless each is signed with a trusted key, whether or not a host would require that.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("trust").required(true).args(["key", "config"]))]
pub(crate) struct Verify {
    /// A component file, the folder of a plugin, or a directory of plugins.
    path: PathBuf,
    /// A key to trust: a file with a public key, or the key itself (`ed25519:...`). May be given again.
    #[arg(long, value_name = "FILE|KEY")]
    key: Vec<String>,
    /// Trust, and revoke, what this host.toml does.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Verify {
    pub(crate) fn run(self, json: bool) -> Result<ExitCode, CliError> {
        let mut policy = match &self.config {
            Some(path) => HostConfig::read(path)?.signatures,
            None => TrustPolicy::default(),
        };
        policy.required = true;
        for key in &self.key {
            policy.trusted.insert(key.clone(), public_key(key)?);
        }
        let (mut documents, mut refused) = (Vec::new(), false);
        for component in components(&self.path)? {
            let answer = check(&policy, &component)?;
            refused |= answer.is_err();
            let file = shown(&component);
            match answer {
                Ok(trust) if json => {
                    documents.push(json!({ "file": component, "trusted": true, "by": trust }));
                }
                Err(refused) if json => documents.push(json!({
                    "file": component,
                    "trusted": false,
                    "code": refused.code(),
                    "message": refused.to_string(),
                    "remedy": refused.remedy(),
                })),
                Ok(trust) => say(&format!("{file}  {trust}")),
                Err(refused) => say(&format!(
                    "{file}  refused: {refused}\ncode: {}\nhelp: {}",
                    refused.code(),
                    refused.remedy()
                )),
            }
        }
        if json {
            say(&json!({ "verified": !refused, "components": documents }).to_string());
        }
        Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Who vouches for a component, in words.
fn check(
    policy: &TrustPolicy,
    component: &std::path::Path,
) -> Result<Result<String, SignatureRefused>, CliError> {
    let digest = digest(component)?;
    let path = signature_path(component);
    // Whatever is there is read: a signature that cannot be is not the same as none.
    let file = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        _ => Some(host_core::read_file(&path, SIGNATURE_BYTES_MAX as u64)?),
    };
    Ok(policy.check(&digest, file.as_deref()).map(|trust| trust.to_string()))
}

/// A public key, or the file with one.
pub(super) fn public_key(text: &str) -> Result<PublicKey, CliError> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(_) => Ok(PublicKey::read(text.as_ref())?),
    }
}
