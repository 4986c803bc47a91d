//! One plugin, as another sees it.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use plugin_contract::{PluginId, SYSTEM_PACKAGE};
use semver::VersionReq;

use crate::{
    CoreError, DependencyProblem, Description, Imports, Metadata, Plugin, PluginApi, PluginStatus,
    ProcessCall, ProcessReply, StoreData, registry::Shelf,
};

/// Satisfies an import of `outer` with a plugin it depends on: whichever version serves at the time of
/// the call and fits. It is called as every plugin is, within its own limits; the caller's deadline
/// holds, too, since giving up the outer call gives up this one.
pub(crate) struct Peer<T: 'static> {
    shelf: Weak<Shelf<T>>,
    outer: PluginId,
    needs: PluginId,
    wanted: VersionReq,
}

impl<T: StoreData> Peer<T> {
    /// What satisfies the imports of a plugin: its dependency.
    ///
    /// # Errors
    /// `core/contract-mismatch` if it imports `plugin-api` and there are several.
    pub(crate) fn imports(
        shelf: &Arc<Shelf<T>>,
        plugin: &Description,
    ) -> Result<Imports, CoreError> {
        let imports_api = plugin
            .info
            .imported_interfaces()
            .any(|name| name.package == SYSTEM_PACKAGE && name.interface == "plugin-api");
        let outer = plugin.name();
        let mut needed = plugin.manifest.dependencies.iter();
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
            shelf: Arc::downgrade(shelf),
            outer: outer.clone(),
            needs: needs.clone(),
            wanted: wanted.clone(),
        };
        Ok(Imports { plugin_api: Some(Arc::new(peer)) })
    }

    fn find(&self) -> Result<Arc<Plugin<T>>, CoreError> {
        let found = self.shelf.upgrade().and_then(|shelf| shelf.find(&self.needs, &self.wanted));
        found.ok_or_else(|| CoreError::Dependency {
            plugin: self.outer.clone(),
            needs: self.needs.clone(),
            wanted: self.wanted.clone(),
            problem: DependencyProblem::Missing,
        })
    }
}

#[async_trait]
impl<T: StoreData> PluginApi for Peer<T> {
    async fn process(&self, mut call: ProcessCall) -> Result<ProcessReply, CoreError> {
        self.find()?.process(&mut call).await
    }

    fn metadata(&self) -> Metadata {
        let version = self.find().map(|plugin| plugin.version().to_string());
        Metadata { name: self.needs.to_string(), version: version.unwrap_or_default() }
    }

    async fn status(&self) -> PluginStatus {
        let Ok(plugin) = self.find() else { return PluginStatus::Errored };
        match plugin.status().await {
            Ok(status) => status.unwrap_or(PluginStatus::Ready),
            Err(CoreError::Paused { .. }) => PluginStatus::Paused,
            Err(_) => PluginStatus::Errored,
        }
    }
}
