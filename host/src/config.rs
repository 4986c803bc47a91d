//! `host.toml`: what the operator decides, apart from the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use host_core::{HealthSettings, OnFailure};
use host_security::{Authority, Ceilings, GuestPath, Policy, Rules, sign::TrustPolicy};
use plugin_contract::{EnvName, Explain, Isolation, PluginId, escape};
use semver::VersionReq;
use serde::Deserialize;

use crate::PluginSettings;

/// Longest `host.toml`, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// A parsed `host.toml`. Unknown keys and words are refused.
///
/// ```
/// let config: host::HostConfig = r#"
///     [health]
///     interval = "10s"
///     [policy]
///     limits.memory = "128MB"
///     [plugins.image-processor]
///     allow.fs = ["read:/data"]
///     paths = { "/data" = "/srv/pictures" }
///     on-failure = "pass-through"
///     isolation = "per-call"
///     [plugins.text-transformer]
///     on-failure = { fallback = "^0.1" }
/// "#
/// .parse()?;
/// assert_eq!(config.plugins.len(), 2);
/// # Ok::<(), host::ConfigFileError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HostConfig {
    /// `[health]`: `interval` and `quarantine`, as durations like `"30s"`.
    pub health: HealthSettings,
    /// `[policy]`, for all plugins, and `allow`, `deny`, `env`, `paths` and `limits` under
    /// `[plugins.NAME]`: see [`Rules`].
    pub policy: Policy,
    /// `[signatures]`: `require-signature`, `trusted-keys` and `revoked-keys`; see [`TrustPolicy`].
    pub signatures: TrustPolicy,
    /// `[network]` `certificates`: what the files hold that it names, beside the public authorities.
    pub certificates: Vec<Vec<u8>>,
    /// `[plugins.NAME]`: `on-failure` is `"refuse"`, `"pass-through"` or `{ fallback = "VERSIONS" }`;
    /// `isolation` is `"shared"`, which leaves it to the plugin, or `"per-call"`; `compose` lists the
    /// plugins that it may be composed with.
    pub plugins: BTreeMap<PluginId, PluginSettings>,
}

/// A `host.toml` that cannot be read or understood. The host does not start with it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// Which, escaped.
        path: String,
        /// What the system said.
        source: host_core::CoreError,
    },
    /// It says something that cannot be understood.
    #[error("{place}: {problem}")]
    Invalid {
        /// The line, or the key.
        place: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}

impl Explain for ConfigFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "host/config-unreadable",
            Self::Invalid { .. } => "host/config-invalid",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "name a file that is there and that the host may read",
            Self::Invalid { .. } => "correct the file where the message says",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    health: Health,
    #[serde(default)]
    policy: Rules,
    #[serde(default)]
    signatures: TrustPolicy,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    plugins: BTreeMap<PluginId, Plugin>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Health {
    interval: Option<String>,
    quarantine: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Network {
    certificates: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Plugin {
    #[serde(default)]
    on_failure: Failure,
    #[serde(default)]
    isolation: Isolation,
    #[serde(default)]
    compose: BTreeSet<PluginId>,
    #[serde(default)]
    allow: Authority,
    #[serde(default)]
    deny: Authority,
    #[serde(default)]
    env: BTreeMap<EnvName, String>,
    #[serde(default)]
    paths: BTreeMap<GuestPath, PathBuf>,
    #[serde(default)]
    limits: Ceilings,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum Failure {
    #[default]
    Refuse,
    PassThrough,
    Fallback(VersionReq),
}

impl HostConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigFileError`].
    pub fn read(path: &Path) -> Result<Self, ConfigFileError> {
        let shown = || escape(&path.display().to_string(), 1_000);
        let bytes = host_core::read_file(path, BYTES_MAX)
            .map_err(|source| ConfigFileError::Unreadable { path: shown(), source })?;
        let parsed = match std::str::from_utf8(&bytes) {
            Ok(text) => text.parse(),
            Err(error) => Err(ConfigFileError::Invalid {
                place: format!("byte {}", error.valid_up_to()),
                problem: "not UTF-8".to_owned(),
            }),
        };
        parsed.map_err(|error| match error {
            ConfigFileError::Invalid { place, problem } => {
                ConfigFileError::Invalid { place: format!("{}: {place}", shown()), problem }
            }
            other => other,
        })
    }
}

impl std::str::FromStr for HostConfig {
    type Err = ConfigFileError;

    fn from_str(text: &str) -> Result<Self, ConfigFileError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            ConfigFileError::Invalid {
                place: format!("line {line}"),
                problem: escape(error.message(), 500),
            }
        })?;
        let mut health = HealthSettings::default();
        set(&mut health.interval, "health.interval", file.health.interval)?;
        set(&mut health.quarantine, "health.quarantine", file.health.quarantine)?;
        let mut policy = Policy { all: file.policy, plugins: BTreeMap::new() };
        let mut plugins = BTreeMap::new();
        for (name, plugin) in file.plugins {
            let settings = PluginSettings {
                on_failure: match plugin.on_failure {
                    Failure::Refuse => OnFailure::Refuse,
                    Failure::PassThrough => OnFailure::PassThrough,
                    Failure::Fallback(versions) => OnFailure::Fallback(versions),
                },
                per_call: plugin.isolation == Isolation::PerCall,
                compose: plugin.compose,
            };
            let Plugin { allow, deny, env, paths, limits, .. } = plugin;
            policy.plugins.insert(name.clone(), Rules { allow, deny, env, paths, limits });
            plugins.insert(name, settings);
        }
        let certificates = file.network.certificates.iter().map(|path| {
            host_core::read_file(path, BYTES_MAX).map_err(|error| ConfigFileError::Invalid {
                place: "network.certificates".to_owned(),
                problem: error.to_string(),
            })
        });
        let certificates = certificates.collect::<Result<_, _>>()?;
        Ok(Self { health, policy, signatures: file.signatures, certificates, plugins })
    }
}

/// Sets a duration, if the file has one.
fn set(to: &mut Duration, key: &str, text: Option<String>) -> Result<(), ConfigFileError> {
    let Some(text) = text else { return Ok(()) };
    *to = plugin_contract::parse_duration(&text).map_err(|error| ConfigFileError::Invalid {
        place: key.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::HostConfig;

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let error = text.parse::<HostConfig>().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn the_example_of_the_manual_is_understood() {
        let config: HostConfig = include_str!("../../docs/host.toml").parse().unwrap();
        let name: plugin_contract::PluginId = "image-processor".parse().unwrap();
        assert_eq!(config.policy.plugins[&name].allow.fs.len(), 2);
        assert_eq!(config.signatures.trusted.len(), 1);
        assert!(config.plugins[&name].per_call);
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_place() {
        assert_eq!("".parse::<HostConfig>().unwrap(), HostConfig::default());
        refused("[health]\nintervall = \"1s\"", "line 2: unknown field `intervall`");
        refused("[health]\ninterval = \"soon\"", "health.interval: \"soon\" is not a time");
        refused("[health]\ninterval = \"0s\"", "health.interval: \"0s\"");
        refused("[plugins.a]\non-failure = \"shrug\"", "line 2: unknown variant `shrug`");
        refused("[plugins.a]\non-failure = { fallback = \"one\" }", "line 2:");
        refused("[plugins.\"../a\"]", "line 1:");
    }
}
