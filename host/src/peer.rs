//! One plugin, as another sees it.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use host_core::{
    CoreError, DependencyProblem, Imports, Metadata, PluginApi, PluginStatus, ProcessCall,
    ProcessReply,
};
use plugin_contract::{Manifest, PluginId};
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
    /// What satisfies the imports of a plugin: of its dependencies, the first by name.
    pub(crate) fn imports(host: &Arc<Inner>, manifest: &Manifest) -> Imports {
        let peer = manifest.dependencies.iter().next().map(|(needs, wanted)| {
            Arc::new(Self {
                host: Arc::downgrade(host),
                outer: manifest.plugin.name.clone(),
                needs: needs.clone(),
                wanted: wanted.clone(),
            }) as Arc<dyn PluginApi>
        });
        Imports { plugin_api: peer }
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
