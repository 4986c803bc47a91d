//! One plugin, as another sees it.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use host_core::{
    Artifact, CoreError, DependencyProblem, Imports, Metadata, PluginApi, PluginStatus,
    ProcessCall, ProcessReply,
};
use plugin_contract::{PluginId, SYSTEM_PACKAGE};
use semver::VersionReq;

use crate::{HostError, loader::Loaded, plugin_host::Inner};

/// Satisfies an import of `outer` with a plugin it depends on: whichever version serves at the time of
/// the call and fits. It is called as every plugin is, within its own limits; the caller's deadline
/// holds, too, since giving up the outer call gives up this one.
pub(crate) struct Peer {
    host: Weak<Inner>,
    outer: PluginId,
    needs: PluginId,
    wanted: VersionReq,
}

impl Peer {
    /// What satisfies the imports of a plugin: its dependency.
    ///
    /// # Errors
    /// `core/contract-mismatch` if it imports `plugin-api` and there are several.
    pub(crate) fn imports(host: &Arc<Inner>, artifact: &Artifact) -> Result<Imports, CoreError> {
        let imports_api = artifact
            .info
            .imported_interfaces()
            .any(|name| name.package == SYSTEM_PACKAGE && name.interface == "plugin-api");
        let (outer, needed) = (&artifact.manifest.plugin.name, &artifact.manifest.dependencies);
        let mut needed = needed.iter();
        let (needs, wanted) = match (imports_api, needed.next(), needed.next()) {
            (true, Some(one), None) => one,
            (true, Some(_), Some(_)) => {
                return Err(CoreError::ContractMismatch {
                    plugin: outer.clone(),
                    problem: "it imports `plugin-api` and has several dependencies: which one is meant cannot be told".to_owned(),
                    source: None,
                });
            }
            _ => return Ok(Imports::none()),
        };
        let peer = Self {
            host: Arc::downgrade(host),
            outer: outer.clone(),
            needs: needs.clone(),
            wanted: wanted.clone(),
        };
        Ok(Imports { plugin_api: Some(Arc::new(peer)) })
    }

    fn find(&self) -> Result<Arc<Loaded>, CoreError> {
        let found =
            self.host.upgrade().and_then(|host| host.find_matching(&self.needs, &self.wanted));
        found.ok_or_else(|| CoreError::Dependency {
            plugin: self.outer.clone(),
            needs: self.needs.clone(),
            wanted: self.wanted.clone(),
            problem: DependencyProblem::Missing,
        })
    }
}

#[async_trait]
impl PluginApi for Peer {
    async fn process(&self, call: ProcessCall) -> Result<ProcessReply, CoreError> {
        let loaded = self.find()?;
        let budget = loaded.budget();
        loaded.pool.lease(&budget).await?.process(call, &budget).await
    }

    fn metadata(&self) -> Metadata {
        let version = self.find().map(|loaded| loaded.prepared().version().to_string());
        Metadata { name: self.needs.to_string(), version: version.unwrap_or_default() }
    }

    async fn status(&self) -> PluginStatus {
        let Ok(loaded) = self.find() else { return PluginStatus::Errored };
        let budget = loaded.budget();
        let asked = async { loaded.pool.lease(&budget).await?.status(&budget).await };
        match asked.await.map_err(HostError::from) {
            Ok(status) => status.unwrap_or(PluginStatus::Ready),
            Err(_) => PluginStatus::Errored,
        }
    }
}
