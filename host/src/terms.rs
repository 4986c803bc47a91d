//! On which terms this host runs plugins: where policy, limits and services come together.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use host_core::{Description, Embedder, OnFailure, Plugin, PoolConfig, Terms};
use host_ipc::{ConfigStore, EventLog, IpcCtx, LimitReached};
use host_security::{
    Auditor, DATA_DIR, Grant, Policy, Request,
    audit::Usage,
    enforce::{Confinement, HostShares},
    sign::{SignatureRefused, Trust, TrustPolicy},
};
use plugin_contract::{Explain, Isolation, Manifest, PluginId};

use crate::{
    audit::{self, HostAudit},
    fetch::Fetch,
    routes::Routes,
    state::HostState,
};

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
    pub(crate) trust: TrustPolicy,
    pub(crate) shares: HostShares,
    pub(crate) audit: Arc<HostAudit>,
    /// Notes what plugins use, if that is to be learnt.
    pub(crate) usage: Option<Usage>,
    /// Where plugins have their private directories.
    pub(crate) data: Option<PathBuf>,
    pub(crate) config: Arc<dyn ConfigStore>,
    pub(crate) events: EventLog,
    pub(crate) routes: Routes,
}

impl HostTerms {
    /// What a plugin is granted.
    pub(crate) fn grant(&self, manifest: &Manifest) -> Grant {
        let request = Request::from_manifest(manifest);
        match &self.usage {
            Some(_) => self.policy.grant(&self.policy.widest(&request)),
            None => self.policy.grant(&request),
        }
    }

    /// Who is told of what a plugin does.
    fn auditor(&self, plugin: &Description) -> Auditor {
        let (name, version) = (plugin.name().as_str(), plugin.version().to_string());
        let auditor = Auditor::new(name, &version, Some(self.audit.clone()));
        match &self.usage {
            Some(usage) => auditor.learning(usage.clone()),
            None => auditor,
        }
    }

    /// Whose word there is for these bytes.
    fn trust(&self, plugin: &Description) -> Result<Trust, SignatureRefused> {
        let trust = self.trust.check(&plugin.info.digest, plugin.signature.as_deref())?;
        // A manifest beside the component is not among the bytes that were signed.
        if self.trust.required && plugin.info.embedded.is_none() {
            return Err(SignatureRefused::ManifestNotSigned);
        }
        Ok(trust)
    }

    /// Makes the data of each new store of a plugin.
    fn store_data(
        &self,
        plugin: &Description,
        confinement: Confinement,
    ) -> impl Fn() -> HostState + Send + Sync + 'static {
        let (config, events) = (self.config.clone(), self.events.clone());
        let (name, version) = (plugin.name().clone(), plugin.version().to_string());
        let fetch = Arc::new(Fetch::new(confinement.net().clone()));
        let keeps_data = self.data.is_some();
        let auditor = confinement.auditor().clone();
        let watch: Arc<dyn Fn(&LimitReached) + Send + Sync> =
            Arc::new(move |limit| audit::limited(&auditor, limit));
        move || {
            let mut ipc = IpcCtx::builder(name.clone(), &version)
                .config(config.clone())
                .events(events.clone())
                .http(fetch.clone())
                .watch_limits(watch.clone())
                .env(confinement.grant().env());
            ipc = match confinement.grant().has_data_dir() {
                true if keeps_data => ipc.data_dir(DATA_DIR),
                true => ipc,
                false => ipc.no_data_dir(),
            };
            HostState::new(&confinement, ipc.build())
        }
    }
}

impl Embedder<HostState> for HostTerms {
    fn terms(
        &self,
        plugin: &Description,
    ) -> Result<Terms<HostState>, Box<dyn Explain + Send + Sync>> {
        let auditor = self.auditor(plugin);
        let signer = match self.trust(plugin) {
            Ok(trust) => trust.to_string(),
            Err(refused) => {
                audit::unsigned(&auditor, &refused);
                return Err(Box::new(refused));
            }
        };
        let grant = self.grant(&plugin.manifest);
        auditor.lifecycle("admitted", &format!("{}, {signer}", plugin.info.digest));
        // An amount within its ceiling is no news.
        let told = grant.decisions().iter().filter(|told| !(told.is_amount() && told.is_granted()));
        auditor.granted(told.map(ToString::to_string).collect());
        let limits = grant.limits().clone();
        let settings = self.plugins.get(plugin.name()).cloned().unwrap_or_default();
        let data_dir = self.data.as_ref().map(|data| data.join(plugin.name().as_str()));
        let confinement = Confinement::new(grant, auditor.clone(), &self.shares, data_dir);
        let mut terms = Terms::new(self.store_data(plugin, confinement));
        terms.watch = Some(Arc::new(move |error| audit::failed(&auditor, error)));
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
