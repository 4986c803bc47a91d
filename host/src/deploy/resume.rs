//! After a restart: what served serves, and what was on its way goes on.

use std::path::PathBuf;

use host_core::{Admission, CoreError, Found, Purpose, admit, read_file};
use host_deploy::{Artifact, Command, PluginVersion, storage::StorageError};
use plugin_contract::{Digest, Explain, Manifest, PluginId};

use super::{Deployments, by_host};
use crate::HostError;

/// A version that is kept: where its component lies, and what came beside it.
pub(crate) struct Stored {
    path: PathBuf,
    component: Digest,
    manifest: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
    admission: Admission,
}

impl Stored {
    /// Reads and admits it. Blocks.
    pub(crate) fn read(self) -> Found {
        let Self { path, component, manifest, signature, admission } = self;
        let read = || {
            let beside = manifest.as_deref().map(Manifest::from_bytes).transpose()?;
            let bytes = read_file(&path, admission.limits.bytes_max)?;
            let artifact = admit(bytes, beside, &admission)?.signed(signature);
            if artifact.description.info.digest != component {
                let corrupt = StorageError::Corrupt { what: component.to_string() };
                return Err(CoreError::Denied(Box::new(corrupt)));
            }
            Ok(artifact)
        };
        Found { artifact: read(), path }
    }
}

impl Deployments {
    /// What is to be loaded, and who answers once it is. Whatever cannot be read is told, and left out.
    pub(crate) async fn to_load(&self) -> Vec<Stored> {
        let mut all = Vec::new();
        for lane in self.lanes() {
            let deployment = lane.deployment();
            self.direct(&lane);
            if let Some(version) = deployment.active() {
                match self.stored(version).await {
                    Ok(stored) => all.push(stored),
                    Err(error) => tracing::error!(
                        plugin = %lane.name, version = %version.version, code = error.code(), %error,
                        "a deployed version cannot be read"
                    ),
                }
            }
        }
        all
    }

    /// Goes on with rollouts and shadows, once all is loaded.
    /// All, or of `only` this plugin: of others, nothing was loaded.
    pub(crate) async fn resume(&self, only: Option<&PluginId>) {
        let mut lanes = self.lanes();
        lanes.retain(|lane| only.is_none_or(|only| lane.name == *only));
        for lane in lanes {
            let deployment = lane.deployment();
            if let Some(rollout) = deployment.rollout.clone() {
                // As a candidate from the beginning: what depends on the plugin has started without it.
                let started = async {
                    let new = self.start(&lane, &rollout.version, Purpose::Serve).await?;
                    self.install(new, true, async { Ok(()) }).await
                };
                match started.await {
                    Ok(()) => self.lead_trial(&lane, rollout),
                    Err(error) => {
                        let why = format!("the canary does not start any more: {}", error.code());
                        let why = by_host(&why);
                        if let Err(error) = self.end_canary(&lane, Command::Reject, &why).await {
                            tracing::error!(plugin = %lane.name, %error, "a canary stays though it does not start");
                        }
                    }
                }
            }
            if let Some(shadow) = &deployment.shadow {
                let started = async {
                    let found = self.found(deployment.version(&shadow.version)?).await?;
                    Ok::<_, crate::HostError>(self.registry.prepare(found, Purpose::Shadow).await?)
                };
                match started.await {
                    Ok(new) => self.mirror(&lane, new, shadow),
                    Err(error) => {
                        tracing::warn!(plugin = %lane.name, %error, "a shadow does not start any more");
                    }
                }
            }
        }
    }

    /// Where a version lies.
    pub(super) async fn stored(&self, version: &PluginVersion) -> Result<Stored, HostError> {
        let Artifact { component, manifest, signature, .. } = &version.artifact;
        Ok(Stored {
            path: self.storage.file(component).await?,
            component: *component,
            manifest: self.part(manifest).await?,
            signature: self.part(signature).await?,
            admission: self.admission.clone(),
        })
    }
}
