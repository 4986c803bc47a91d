//! What a file is, and whether this host would load it.

use std::path::Path;

use host_core::{Admission, read_artifact};
use host_security::{Policy, Request};
use plugin_contract::{ComponentInfo, Explain, Lane, Manifest, World};
use serde::Serialize;

use crate::{HostError, PluginHost};

/// Everything there is to know about a component file. Texts are those of the file, a stranger's.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// As it was asked for.
    pub path: String,
    /// Of the component, in bytes.
    pub bytes: Option<u64>,
    /// Of the component.
    pub digest: Option<String>,
    /// The plugin, by its manifest.
    pub plugin: Option<String>,
    /// Its version, by its manifest.
    pub version: Option<String>,
    /// The world it exports.
    pub world: Option<World>,
    /// The version of the contract it was built against.
    pub contract: Option<String>,
    /// `unary`, or `stream` if it needs the component model's concurrency.
    pub lane: Option<&'static str>,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it asks for and how this host's policy answers.
    pub permissions: Vec<String>,
    /// Core modules, components and core functions inside.
    pub counts: Option<Counts>,
    /// What made it, as it says.
    pub producers: Vec<String>,
    /// Whether this host would load it.
    pub verdict: Verdict,
}

/// How much there is inside a component.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// Core modules.
    pub modules: u32,
    /// Nested components.
    pub components: u32,
    /// Core functions.
    pub functions: u32,
}

/// Whether a host would load a file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// Whether.
    pub loads: bool,
    /// Why not: the code.
    pub code: Option<&'static str>,
    /// Why not: the message, with its causes.
    pub message: Option<String>,
    /// What to do about it.
    pub remedy: Option<&'static str>,
}

impl Verdict {
    fn refused(error: &HostError) -> Self {
        Self {
            loads: false,
            code: Some(error.code()),
            message: Some(chain(error)),
            remedy: Some(error.remedy()),
        }
    }
}

/// An error and its causes, in one line each.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}\n  caused by: {error}");
        cause = error.source();
    }
    text
}

/// Inspects a component file, or the folder of a plugin. The verdict is not an opinion: the plugin is
/// loaded into a host of its own, under `policy`, compiled, linked and initialised.
///
/// # Errors
/// If that host cannot be set up. What is wrong with the file is in the verdict.
pub async fn inspect(path: &Path, policy: &Policy) -> Result<Inspection, HostError> {
    let admission = Admission::default();
    let mut seen = Inspection {
        path: path.display().to_string(),
        bytes: None,
        digest: None,
        plugin: None,
        version: None,
        world: None,
        contract: None,
        lane: None,
        imports: Vec::new(),
        exports: Vec::new(),
        permissions: Vec::new(),
        counts: None,
        producers: Vec::new(),
        verdict: Verdict { loads: true, code: None, message: None, remedy: None },
    };
    // A component in the folder of a plugin is that plugin: its manifest stands beside it.
    let folder = path.parent().filter(|folder| folder.join("plugin.toml").is_file());
    let plugin = folder.filter(|_| path.is_file()).unwrap_or(path);
    match read_artifact(plugin, &admission) {
        Ok(artifact) => {
            seen.describe(&artifact.info);
            seen.ask(&artifact.manifest, policy);
            seen.verdict = verdict(plugin, &artifact.manifest, policy).await?;
        }
        Err(error) => {
            // What can be told of a component that is refused.
            if let Ok(bytes) = std::fs::read(path)
                && let Ok(info) = ComponentInfo::read(&bytes, &admission.limits)
            {
                seen.describe(&info);
            }
            seen.verdict = Verdict::refused(&error.into());
        }
    }
    Ok(seen)
}

async fn verdict(
    plugin: &Path,
    manifest: &Manifest,
    policy: &Policy,
) -> Result<Verdict, HostError> {
    let mut host = PluginHost::builder().policy(policy.clone());
    // What it depends on is looked for beside it.
    host = match plugin.parent() {
        Some(beside) if !manifest.dependencies.is_empty() => {
            host.plugins(beside).only(manifest.plugin.name.clone())
        }
        _ => host.plugins(plugin),
    };
    let refused = host.build().await?.refused();
    Ok(match refused.iter().find(|refused| refused.path == plugin) {
        Some(refused) => Verdict::refused(&refused.error),
        None => Verdict { loads: true, code: None, message: None, remedy: None },
    })
}

impl Inspection {
    fn describe(&mut self, info: &ComponentInfo) {
        self.bytes = Some(info.bytes);
        self.digest = Some(info.digest.to_string());
        self.world = info.world();
        self.lane = Some(match info.lane {
            Lane::Unary => "unary",
            Lane::Stream => "stream",
        });
        self.contract = match &info.embedded {
            Some(embedded) => Some(embedded.contract.to_string()),
            None => {
                let version = |name: &plugin_contract::InterfaceName| name.version.clone();
                let mut ours = info
                    .exported_interfaces()
                    .filter(|name| name.package == plugin_contract::SYSTEM_PACKAGE);
                ours.next().and_then(version).map(|version| version.to_string())
            }
        };
        let names =
            |list: &[plugin_contract::Extern]| list.iter().map(|e| e.name.clone()).collect();
        self.imports = names(&info.imports);
        self.exports = names(&info.exports);
        self.counts = Some(Counts {
            modules: info.modules,
            components: info.components,
            functions: info.functions,
        });
        self.producers = info.producers.clone();
    }

    fn ask(&mut self, manifest: &Manifest, policy: &Policy) {
        self.plugin = Some(manifest.plugin.name.to_string());
        self.version = Some(manifest.plugin.version.to_string());
        if let Ok(request) = Request::from_manifest(manifest) {
            let grant = policy.grant(&request);
            self.permissions = grant.decisions().iter().map(ToString::to_string).collect();
        }
    }
}
