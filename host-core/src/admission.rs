//! The decision on bytes from a stranger, before anyone spends a compile on them.

use std::sync::Arc;

use plugin_contract::{
    CONTRACT_VERSION, ComponentInfo, Embedded, InterfaceName, Manifest, PluginId, ReadLimits,
    SYSTEM_PACKAGE, World, escape,
};
use semver::Version;

use crate::CoreError;

/// What this host admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// How much a component may hold.
    pub limits: ReadLimits,
    /// What plugins that ask for a host are compared with. Default: the version of this crate.
    pub host_version: Version,
    /// Whether a component that nothing says the name of is taken, by the name of its file and as version
    /// 0.0.0. Default: no.
    pub unnamed: bool,
}

impl Default for Admission {
    fn default() -> Self {
        let host_version = Version::parse(env!("CARGO_PKG_VERSION"));
        Self {
            limits: ReadLimits::default(),
            host_version: host_version.expect("cargo takes no other version"),
            unnamed: false,
        }
    }
}

/// What is known of a component that was admitted, apart from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// What its bytes tell.
    pub info: ComponentInfo,
    /// Its manifest: the one inside, or where there is none the one beside it.
    pub manifest: Manifest,
    /// Its world; `None` if it is none of this contract's. Its functions can be called by name.
    pub world: Option<World>,
    /// The signature that was found beside it, unread: what it is worth is for the embedder to say, in
    /// [`Embedder::terms`](crate::Embedder::terms).
    pub signature: Option<Arc<[u8]>>,
}

impl Description {
    /// The plugin's name.
    pub fn name(&self) -> &PluginId {
        &self.manifest.plugin.name
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.manifest.plugin.version
    }
}

/// A component that was admitted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Artifact {
    /// The component.
    pub bytes: Arc<[u8]>,
    /// What is known of it.
    pub description: Arc<Description>,
}

impl Artifact {
    /// With the signature that came beside it.
    #[must_use]
    pub fn signed(mut self, signature: Option<Vec<u8>>) -> Self {
        if let Some(signature) = signature {
            Arc::make_mut(&mut self.description).signature = Some(signature.into());
        }
        self
    }
}

/// Decides on `bytes`. `beside` is the `plugin.toml` that came with them, if one did.
///
/// # Errors
/// The first thing that is wrong, from cheap to dear: size, kind of file, counts, manifest, host
/// version, contract. Nothing was compiled.
pub fn admit(
    bytes: Vec<u8>,
    beside: Option<Manifest>,
    admission: &Admission,
) -> Result<Artifact, CoreError> {
    let info = ComponentInfo::read(&bytes, &admission.limits)?;
    let inside = info.embedded.as_ref().map(|embedded| &embedded.manifest);
    let manifest = match (inside, beside) {
        (Some(inside), Some(beside)) if *inside != beside => {
            return Err(CoreError::ManifestDiffers { plugin: beside.plugin.name });
        }
        (Some(inside), _) => inside.clone(),
        (None, Some(beside)) => beside,
        (None, None) => return Err(CoreError::ManifestMissing),
    };
    let plugin = &manifest.plugin;
    if let Some(wanted) = &plugin.host
        && !wanted.matches(&admission.host_version)
    {
        return Err(CoreError::HostVersion {
            plugin: plugin.name.clone(),
            wanted: wanted.clone(),
            host: admission.host_version.clone(),
        });
    }
    let world = world_of(&plugin.name, &info, info.embedded.as_ref(), plugin.world)?;
    let description = Arc::new(Description { info, manifest, world, signature: None });
    Ok(Artifact { bytes: bytes.into(), description })
}

/// The world by the exports, which must be what embedded section and manifest claim. A component that
/// exports nothing of this contract, and claims nothing, has none.
fn world_of(
    plugin: &PluginId,
    info: &ComponentInfo,
    embedded: Option<&Embedded>,
    claimed: Option<World>,
) -> Result<Option<World>, CoreError> {
    let mismatch = |problem: String| CoreError::ContractMismatch {
        plugin: plugin.clone(),
        problem,
        source: None,
    };
    let ours = || info.exported_interfaces().filter(|name| name.package == SYSTEM_PACKAGE);
    for name in ours() {
        let spoken = InterfaceName { version: Some(CONTRACT_VERSION), ..name.clone() };
        if !spoken.serves(name) {
            return Err(mismatch(format!(
                "it exports `{}`, this host speaks {CONTRACT_VERSION}",
                escape(&name.to_string(), 200)
            )));
        }
    }
    if info.exports.is_empty() {
        return Err(mismatch("it exports nothing that could be called".to_owned()));
    }
    let Some(world) = info.world() else {
        if ours().next().is_none() && embedded.is_none() && claimed.is_none() {
            return Ok(None);
        }
        return Err(mismatch(format!(
            "its exports make up no world of `{SYSTEM_PACKAGE}@{CONTRACT_VERSION}`"
        )));
    };
    let claims = [
        ("the section inside says", embedded.map(|embedded| embedded.world)),
        ("the manifest says", claimed),
    ];
    for (who, claim) in claims {
        // Exporting more than the claimed world is fine; less is not.
        let missing = claim.and_then(|claim| {
            let has = |wanted: &&&str| info.exported_interfaces().any(|e| e.interface == **wanted);
            Some((claim, claim.exports().iter().find(|wanted| !has(wanted))?))
        });
        if let Some((claim, missing)) = missing {
            return Err(mismatch(format!("{who} `{claim}`, but it does not export `{missing}`")));
        }
    }
    if let Some(embedded) = embedded
        && embedded.contract.major != CONTRACT_VERSION.major
    {
        return Err(mismatch(format!(
            "it was built for contract {}, this host speaks {CONTRACT_VERSION}",
            embedded.contract
        )));
    }
    Ok(Some(claimed.unwrap_or(world)))
}
