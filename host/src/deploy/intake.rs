//! From what was uploaded to a version that may be staged: what it is, whose it is, what it changes.

use std::sync::Arc;

use host_core::{Admission, admit};
use host_deploy::{Artifact, PermissionDiff, PluginVersion, Status, compat};
use plugin_contract::{Digest, Manifest, Permissions, PluginId};
use semver::Version;

use super::wit::Wit;
use crate::{HostError, blocking, terms::HostTerms};

/// A plugin, as it arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    /// The component.
    pub component: Vec<u8>,
    /// The `plugin.toml` beside it, where it carries none.
    pub manifest: Option<Vec<u8>>,
    /// The signature beside it.
    pub signature: Option<Vec<u8>>,
}

/// How the contract of an upgrade compares with that of the version before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Identical, additive or breaking.
    pub verdict: compat::Verdict,
    /// Each item that is not as it was.
    pub changes: Vec<String>,
}

impl From<compat::Report> for Contract {
    fn from(report: compat::Report) -> Self {
        let changes = report.changes.iter().map(ToString::to_string).collect();
        Self { verdict: report.verdict(), changes }
    }
}

/// An upload that was admitted.
pub(super) struct Intake {
    pub(super) artifact: host_core::Artifact,
    pub(super) manifest_beside: Option<Vec<u8>>,
    pub(super) wit: Wit,
}

impl Intake {
    /// Decides on an upload, without compiling anything.
    pub(super) async fn read(
        upload: Upload,
        terms: Arc<HostTerms>,
        admission: Admission,
    ) -> Result<Self, HostError> {
        blocking(move || {
            let Upload { component, manifest, signature } = upload;
            let beside = manifest.as_deref().map(Manifest::from_bytes).transpose();
            let beside = beside.map_err(host_core::CoreError::from)?;
            let artifact = admit(component, beside, &admission)?.signed(signature);
            terms.check_trust(&artifact.description)?;
            let wit = Wit::of(artifact.description.name(), &artifact.bytes)?;
            // Of a component that carries its manifest, the one beside it is a copy.
            let carries = artifact.description.info.embedded.is_some();
            let manifest_beside = manifest.filter(|_| !carries);
            Ok(Self { artifact, manifest_beside, wit })
        })
        .await
    }

    pub(super) fn name(&self) -> &PluginId {
        self.artifact.description.name()
    }

    pub(super) fn version(&self) -> &Version {
        self.artifact.description.version()
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.artifact.description.manifest
    }

    pub(super) fn digest(&self) -> Digest {
        self.artifact.description.info.digest
    }

    /// The parts that are kept for it.
    pub(super) fn parts(&self) -> Vec<Arc<[u8]>> {
        let Self { artifact, manifest_beside, wit } = self;
        let beside = manifest_beside.as_deref().map(Arc::from);
        let signature = artifact.description.signature.clone();
        let wit = wit.text().into_bytes().into();
        [Some(artifact.bytes.clone()), beside, signature, Some(wit)].into_iter().flatten().collect()
    }

    /// The version that it is to become.
    pub(super) fn release(&self, permissions: &PermissionDiff, now_ms: u64) -> PluginVersion {
        let Self { artifact, manifest_beside, wit } = self;
        let description = &artifact.description;
        let wit = Digest::of(wit.text().as_bytes());
        PluginVersion {
            name: self.name().clone(),
            version: self.version().clone(),
            artifact: Artifact {
                component: description.info.digest,
                bytes: description.info.bytes,
                manifest: manifest_beside.as_deref().map(Digest::of),
                signature: description.signature.as_deref().map(Digest::of),
                wit,
            },
            min_host_version: description.manifest.plugin.host.clone(),
            wit_hash: wit,
            deployed_at: now_ms,
            status: Status::Staged,
            awaits_approval: permissions.widened.clone(),
        }
    }

    /// What it asks for beyond what `active` does.
    pub(super) fn asks_beyond(&self, active: &Manifest) -> PermissionDiff {
        PermissionDiff::between(active, self.manifest())
    }

    /// All that it asks for.
    pub(super) fn asks_for(&self) -> PermissionDiff {
        let mut nothing = self.manifest().clone();
        nothing.permissions = Permissions::default();
        nothing.dependencies.clear();
        self.asks_beyond(&nothing)
    }
}
