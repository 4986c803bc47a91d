//! One plugin, as another sees it.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use plugin_contract::{Dependency, Extern, InterfaceName, PluginId, SYSTEM_PACKAGE, escape};
use semver::VersionReq;
use wasmtime::component::Val;

use crate::{
    Caller, CoreError, DependencyProblem, Description, ForeignInterface, Imports, Metadata,
    Operation, Plugin, PluginApi, PluginStatus, ProcessCall, ProcessReply, StoreData,
    registry::Shelf,
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
    /// What satisfies the imports of a plugin: what its dependencies export.
    ///
    /// # Errors
    /// `core/contract-mismatch` if several of them export the same.
    pub(crate) fn imports(
        shelf: &Arc<Shelf<T>>,
        plugin: &Description,
    ) -> Result<Imports, CoreError> {
        let mut imports = Imports::none();
        for import in &plugin.info.imports {
            let Some(wanted) = &import.interface else { continue };
            if shelf.runtime.offers(wanted) {
                continue;
            }
            let is_api = wanted.package == SYSTEM_PACKAGE && wanted.interface == "plugin-api";
            let found = match Self::of(shelf, plugin, wanted, false)? {
                // Any plugin can be called as one that exports `plugin-api`: the host sees to that.
                None if is_api => Self::of(shelf, plugin, wanted, true)?,
                found => found,
            };
            let Some(peer) = found else { continue };
            if is_api {
                imports.plugin_api = Some(Arc::new(peer));
            } else {
                let wanted = wanted.clone();
                let foreign: Arc<dyn ForeignInterface> = Arc::new(Foreign { peer, wanted });
                imports.interfaces.push((import.name.clone(), foreign));
            }
        }
        Ok(imports)
    }

    /// The one dependency that exports `wanted`, or is `any`.
    fn of(
        shelf: &Arc<Shelf<T>>,
        plugin: &Description,
        wanted: &InterfaceName,
        any: bool,
    ) -> Result<Option<Self>, CoreError> {
        let mut found = None;
        for (needs, Dependency { version: versions, .. }) in &plugin.manifest.dependencies {
            let Some(dependency) = shelf.find(needs, versions) else { continue };
            if !any && export(dependency.description(), wanted).is_none() {
                continue;
            }
            let peer = Self {
                shelf: Arc::downgrade(shelf),
                outer: plugin.name().clone(),
                needs: needs.clone(),
                wanted: versions.clone(),
            };
            if found.replace(peer).is_some() {
                return Err(CoreError::ContractMismatch {
                    plugin: plugin.name().clone(),
                    problem: format!(
                        "it imports `{}`, which several of its dependencies export: which one is meant cannot be told",
                        escape(&wanted.to_string(), 200)
                    ),
                    source: None,
                });
            }
        }
        Ok(found)
    }

    /// In whose name it is called: that of whoever the outer plugin works for, and within its time.
    fn relay(&self, caller: &Caller) -> Result<Caller, CoreError> {
        caller
            .relay(&self.outer, &self.needs)
            .map_err(|refused| CoreError::NotRelayed { plugin: self.needs.clone(), refused })
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
        call.caller = self.relay(&call.caller)?;
        loop {
            match self.find()?.process(&mut call).await {
                // Replaced between the two steps: whoever took its place answers.
                Err(CoreError::Retired { .. }) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    }

    fn metadata(&self) -> Metadata {
        let version = self.find().map(|plugin| plugin.version().to_string());
        Metadata { name: self.needs.to_string(), version: version.unwrap_or_default() }
    }

    async fn status(&self, caller: Caller) -> PluginStatus {
        let (Ok(plugin), Ok(caller)) = (self.find(), self.relay(&caller)) else {
            return PluginStatus::Errored;
        };
        match plugin.status(&caller).await {
            Ok(status) => status.unwrap_or(PluginStatus::Ready),
            Err(CoreError::Paused { .. }) => PluginStatus::Paused,
            Err(_) => PluginStatus::Errored,
        }
    }
}

/// How a plugin names what it exports of the interface `wanted`, if it does.
pub(crate) fn export<'a>(plugin: &'a Description, wanted: &InterfaceName) -> Option<&'a str> {
    let serves =
        |export: &&Extern| export.interface.as_ref().is_some_and(|export| export.serves(wanted));
    plugin.info.exports.iter().find(serves).map(|export| export.name.as_str())
}

/// One interface of a dependency, whichever version of it serves.
struct Foreign<T: 'static> {
    peer: Peer<T>,
    wanted: InterfaceName,
}

#[async_trait]
impl<T: StoreData> ForeignInterface for Foreign<T> {
    async fn call(
        &self,
        caller: &Caller,
        function: &str,
        args: &[Val],
    ) -> Result<Vec<Val>, CoreError> {
        let caller = &self.peer.relay(caller)?;
        loop {
            let plugin = self.peer.find()?;
            let Some(interface) = export(plugin.description(), &self.wanted) else {
                return Err(CoreError::NotOffered {
                    plugin: plugin.name().clone(),
                    operation: Operation::Call,
                });
            };
            match plugin.call_values(caller, (interface, function), args).await {
                Err(CoreError::Retired { .. }) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    }
}
