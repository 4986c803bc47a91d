//! What a file is, and whether this host would load it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use host_core::{Admission, Artifact, CoreError, read_artifact, read_file};
use host_security::{Policy, Request};
use plugin_contract::{ComponentInfo, Explain, Lane, Manifest, World, escape};
use serde::Serialize;

use crate::{HostError, PluginHostBuilder, blocking};

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
    /// The functions it exports, as in WIT; known if it loads.
    pub functions: Vec<String>,
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

/// An error and its causes. Causes are one line each, escaped, and cut at 4 KiB: the engine's quote
/// what a guest chose. At most eight are told.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |error| error.source());
    for cause in causes.take(8) {
        text.push_str("\n  caused by: ");
        text.push_str(&escape(&cause.to_string(), 4 << 10));
    }
    text
}

/// Inspects a component file, or the folder of a plugin. The verdict is not an opinion: the plugin is
/// loaded into a host of its own, one as `host` builds, compiled, linked and initialised.
///
/// # Errors
/// If that host cannot be set up. What is wrong with the file is in the verdict.
pub async fn inspect(path: &Path, host: &PluginHostBuilder) -> Result<Inspection, HostError> {
    let shown = escape(&path.display().to_string(), 1_000);
    let (plugin, read) = blocking({
        let path = path.to_owned();
        move || {
            let plugin = plugin_at(&path);
            let read = read_artifact(&plugin, &Admission::default());
            Ok((plugin, read))
        }
    })
    .await?;
    let mut seen = Inspection::of(shown);
    match read {
        Ok(artifact) => {
            seen.describe(&artifact.description.info);
            seen.ask(&artifact.description.manifest, &host.policy);
            (seen.verdict, seen.functions) = verdict(&plugin, &artifact, host).await?;
        }
        Err(error) => {
            // What can be told of a component that is refused.
            let readable = !matches!(error, CoreError::Unreadable { .. });
            let path = path.to_owned();
            let told = blocking(move || {
                let limits = Admission::default().limits;
                let bytes = readable.then(|| read_file(&path, limits.bytes_max).ok()).flatten();
                Ok(bytes.and_then(|bytes| ComponentInfo::read(&bytes, &limits).ok()))
            });
            if let Some(info) = told.await? {
                seen.describe(&info);
            }
            seen.verdict = Verdict::refused(&error.into());
        }
    }
    Ok(seen)
}

/// The folder of a plugin, if `path` is the component that its manifest names; else `path` itself.
fn plugin_at(path: &Path) -> PathBuf {
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return path.to_owned(),
    };
    let manifest = read_file(&folder.join("plugin.toml"), Manifest::BYTES_MAX as u64).ok();
    let manifest = manifest.and_then(|text| String::from_utf8(text).ok()?.parse::<Manifest>().ok());
    match manifest {
        Some(manifest) if path.file_name() == Some(manifest.plugin.entrypoint.as_ref()) => {
            folder.to_owned()
        }
        _ => path.to_owned(),
    }
}

async fn verdict(
    plugin: &Path,
    artifact: &Artifact,
    host: &PluginHostBuilder,
) -> Result<(Verdict, Vec<String>), HostError> {
    let section = &artifact.description.manifest.plugin;
    let mut host = host.clone();
    // What it depends on is looked for beside it.
    let absolute = std::path::absolute(plugin).unwrap_or_else(|_| plugin.to_owned());
    host = match absolute.parent() {
        Some(beside) if !artifact.description.manifest.dependencies.is_empty() => {
            host.plugins(beside).only(section.name.clone())
        }
        _ => host.plugins(&absolute),
    };
    let host = host.build().await?;
    let loaded = host.plugins().iter().any(|info| info.digest == artifact.description.info.digest);
    let functions = host.functions(&section.name.clone().into()).await.unwrap_or_default();
    let functions = functions.iter().map(ToString::to_string).collect();
    let refused = host.refused();
    let verdict = match refused.iter().find(|refused| refused.path == absolute) {
        _ if loaded => Verdict { loads: true, code: None, message: None, remedy: None },
        Some(refused) => Verdict::refused(&refused.error),
        None => Verdict::refused(&HostError::UnknownPlugin(section.name.clone().into())),
    };
    host.shutdown(Duration::from_secs(5)).await;
    Ok((verdict, functions))
}

impl Inspection {
    /// Nothing is known yet.
    fn of(path: String) -> Self {
        Self {
            path,
            bytes: None,
            digest: None,
            plugin: None,
            version: None,
            world: None,
            contract: None,
            lane: None,
            imports: Vec::new(),
            exports: Vec::new(),
            functions: Vec::new(),
            permissions: Vec::new(),
            counts: None,
            producers: Vec::new(),
            verdict: Verdict { loads: false, code: None, message: None, remedy: None },
        }
    }

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
        let grant = policy.grant(&Request::from_manifest(manifest));
        self.permissions = grant.decisions().iter().map(ToString::to_string).collect();
    }
}
