//! On which terms this host runs plugins: where policy, limits and services come together.

use std::{collections::BTreeMap, sync::Arc};

use host_core::{Description, Embedder, OnFailure, Plugin, PoolConfig, Terms};
use host_ipc::{ConfigStore, EventLog, IpcCtx};
use host_security::{Grant, InvalidPermission, Policy, Request, enforce::HostMemory};
use plugin_contract::{Explain, Isolation, Manifest, PluginId};

use crate::{routes::Routes, state::HostState};

/// What the operator decides for one plugin, beside what it is granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PluginSettings {
    /// What callers get when the plugin is out of order.
    pub on_failure: OnFailure,
    /// Gives each call an instance of its own, whatever the plugin's manifest says.
    pub per_call: bool,
}

/// What all plugins of a host share.
pub(crate) struct HostTerms {
    pub(crate) policy: Policy,
    pub(crate) plugins: BTreeMap<PluginId, PluginSettings>,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) config: Arc<dyn ConfigStore>,
    pub(crate) events: EventLog,
    pub(crate) routes: Routes,
}

impl HostTerms {
    /// What a plugin is granted.
    pub(crate) fn grant(&self, manifest: &Manifest) -> Result<Grant, InvalidPermission> {
        Ok(self.policy.grant(&Request::from_manifest(manifest)?))
    }

    /// Makes the data of each new store of a plugin.
    fn store_data(
        &self,
        plugin: &Description,
        grant: Grant,
    ) -> impl Fn() -> HostState + Send + Sync + 'static {
        let (memory, config, events) =
            (self.memory.clone(), self.config.clone(), self.events.clone());
        let (name, version) = (plugin.name().clone(), plugin.version().to_string());
        move || {
            let ipc = IpcCtx::builder(name.clone(), &version)
                .config(config.clone())
                .events(events.clone())
                .env(grant.env())
                .build();
            HostState::new(&grant, memory.clone(), ipc)
        }
    }
}

impl Embedder<HostState> for HostTerms {
    fn terms(
        &self,
        plugin: &Description,
    ) -> Result<Terms<HostState>, Box<dyn Explain + Send + Sync>> {
        let grant = match self.grant(&plugin.manifest) {
            Ok(grant) => grant,
            Err(error) => return Err(Box::new(error)),
        };
        let limits = grant.limits().clone();
        let settings = self.plugins.get(plugin.name()).cloned().unwrap_or_default();
        let mut terms = Terms::new(self.store_data(plugin, grant));
        terms.timeout = limits.timeout;
        terms.cpu_time = limits.cpu_time;
        terms.pool = PoolConfig::new(limits.max_instances);
        terms.pool.isolation = match settings.per_call {
            true => Isolation::PerCall,
            false => plugin.manifest.plugin.isolation,
        };
        terms.on_failure = settings.on_failure;
        Ok(terms)
    }

    fn changed(&self, name: &PluginId, versions: &[Arc<Plugin<HostState>>]) {
        self.routes.update(name, versions);
    }
}
