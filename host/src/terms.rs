//! On which terms this host runs plugins: where policy, limits and services come together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use host_core::{CoreError, Description, Embedder, OnFailure, Plugin, PoolConfig, Terms};
use host_ipc::{
    BusSettings, ConfigStore, EventBus, EventLog, EventLogLimits, EventSource, IpcCtx,
    LimitReached, MayReach,
};
use host_security::{
    Auditor, DATA_DIR, Grant, Policy, Request,
    audit::{Usage, ViolationType},
    enforce::{Confinement, HostShares},
    sign::{SignatureRefused, Trust, TrustPolicy},
};
use plugin_contract::{
    Address, Dependency, Explain, FsAccess, FsPermission, Isolation, Link, Manifest,
    MessagePermission, PluginId,
};

use crate::{
    audit::{self, HostAudit},
    deploy::scratch::ScratchConfig,
    fetch::Fetch,
    mail::Mail,
    routes::Routes,
    state::HostState,
    subscribers::Subscribers,
};

/// What the operator decides for one plugin, beside what it is granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PluginSettings {
    /// What callers get when the plugin is out of order.
    pub on_failure: OnFailure,
    /// Gives each call an instance of its own, whatever the plugin's manifest says.
    pub per_call: bool,
    /// The plugins that it may be composed with: they then have its grant and its limits.
    pub compose: BTreeSet<PluginId>,
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
    pub(crate) subscribers: Subscribers,
    pub(crate) mail: Mail,
    pub(crate) routes: Arc<Routes>,
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

    /// Whether there is a word for these bytes where there has to be one. A refusal is told.
    pub(crate) fn check_trust(&self, plugin: &Description) -> Result<(), CoreError> {
        self.trust(plugin).map(drop).map_err(|refused| {
            audit::unsigned(&self.auditor(plugin), &refused);
            CoreError::Denied(Box::new(refused))
        })
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

    /// The terms of a plugin that was granted this.
    fn terms_within(
        &self,
        plugin: &Description,
        grant: Grant,
        reach: Reach,
    ) -> Result<Terms<HostState>, Box<dyn Explain + Send + Sync>> {
        let auditor = self.auditor(plugin);
        let signer = match self.trust(plugin) {
            Ok(trust) => trust.to_string(),
            Err(refused) => {
                audit::unsigned(&auditor, &refused);
                return Err(Box::new(refused));
            }
        };
        let settings = self.plugins.get(plugin.name()).cloned().unwrap_or_default();
        if let Err(refused) = check_composition(&plugin.manifest, &settings.compose) {
            return Err(Box::new(refused));
        }
        auditor.lifecycle("admitted", &format!("{}, {signer}", plugin.info.digest));
        // An amount within its ceiling is no news.
        let told = grant.decisions().iter().filter(|told| !(told.is_amount() && told.is_granted()));
        auditor.granted(told.map(ToString::to_string).collect());
        let limits = grant.limits().clone();
        let data_dir = self.data.as_ref().map(|data| data.join(plugin.name().as_str()));
        let confinement = Confinement::new(grant, auditor.clone(), &self.shares, data_dir);
        let mut terms = Terms::new(self.store_data(plugin, confinement, reach));
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

    /// Makes the data of each new store of a plugin.
    fn store_data(
        &self,
        plugin: &Description,
        confinement: Confinement,
        reach: Reach,
    ) -> impl Fn() -> HostState + Send + Sync + 'static {
        let Reach { config, events } = reach;
        let (name, version) = (plugin.name().clone(), plugin.version().to_string());
        let fetch = Arc::new(Fetch::new(confinement.net().clone()));
        let keeps_data = self.data.is_some();
        let auditor = confinement.auditor().clone();
        let sender = self.mail.exchange().sender(Address::Plugin(name.clone()));
        let may_reach = may_reach(confinement.grant(), auditor.clone());
        let watch: Arc<dyn Fn(&LimitReached) + Send + Sync> =
            Arc::new(move |limit| audit::limited(&auditor, limit));
        move || {
            let mut ipc = IpcCtx::builder(name.clone(), &version)
                .config(config.clone())
                .events(events.clone())
                .http(fetch.clone())
                .messages(sender.clone(), may_reach.clone())
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

/// What of the host's a plugin reaches, beside what it is granted.
struct Reach {
    config: Arc<dyn ConfigStore>,
    events: EventSource,
}

/// A plugin that calls others is to change nothing.
#[derive(Debug, thiserror::Error)]
#[error("`{plugin}` calls other plugins, which would act on what a shadow has them do")]
struct ShadowCalls {
    plugin: PluginId,
}

impl Explain for ShadowCalls {
    fn code(&self) -> &'static str {
        "deploy/shadow-calls-others"
    }

    fn remedy(&self) -> &'static str {
        "try it as a canary, with a small share"
    }
}

/// A plugin wants to share its store, and so its grant, with another, and the operator does not agree.
#[derive(Debug, thiserror::Error)]
#[error("`{plugin}` may not be composed with `{with}`")]
struct CompositionRefused {
    plugin: PluginId,
    with: PluginId,
}

impl Explain for CompositionRefused {
    fn code(&self) -> &'static str {
        "security/composition-refused"
    }

    fn remedy(&self) -> &'static str {
        "name the inner plugin under `compose` of the outer one in host.toml, or have the outer one take it isolated"
    }
}

/// Whoever is composed with a plugin gets all that the plugin was granted.
fn check_composition(
    manifest: &Manifest,
    allowed: &BTreeSet<PluginId>,
) -> Result<(), CompositionRefused> {
    let composed = |(with, dependency): &(&PluginId, &Dependency)| {
        dependency.link == Link::Composed && !allowed.contains(*with)
    };
    match manifest.dependencies.iter().find(composed) {
        None => Ok(()),
        Some((with, _)) => {
            Err(CompositionRefused { plugin: manifest.plugin.name.clone(), with: with.clone() })
        }
    }
}

/// Decides on the messages of a plugin, and tells `auditor`.
fn may_reach(grant: &Grant, auditor: Auditor) -> MayReach {
    let rules = grant.messages().clone();
    Arc::new(move |target| match rules.check(target) {
        Ok(()) => {
            auditor.used_message(&MessagePermission { target: Some(target.clone()) }.to_string());
            Ok(())
        }
        Err(denial) => {
            let kind = ViolationType::MessageDenied;
            auditor.denied(kind, "send", &target.to_string(), &denial);
            Err(denial.rule)
        }
    })
}

impl Embedder<HostState> for HostTerms {
    fn terms(
        &self,
        plugin: &Description,
    ) -> Result<Terms<HostState>, Box<dyn Explain + Send + Sync>> {
        let grant = self.grant(&plugin.manifest);
        let reach = Reach {
            config: self.config.clone(),
            events: self.subscribers.bus().source(plugin.name().clone()),
        };
        self.terms_within(plugin, grant, reach)
    }

    /// What it would read, it may; what it would change, it may not. What it keeps is forgotten with it.
    fn shadow_terms(
        &self,
        plugin: &Description,
    ) -> Result<Terms<HostState>, Box<dyn Explain + Send + Sync>> {
        let mut manifest = plugin.manifest.clone();
        let permissions = &mut manifest.permissions;
        permissions.fs.retain(|permission| permission.access.reads());
        permissions.fs.iter_mut().for_each(|permission| permission.access = FsAccess::Read);
        // Its private directory is that of the version that serves.
        let data = vec![DATA_DIR.trim_start_matches('/').to_owned()];
        permissions.deny.fs.push(FsPermission { access: FsAccess::Write, path: data });
        permissions.net.clear();
        permissions.messages.clear();
        // Those it calls are no shadows.
        if manifest.dependencies.values().any(|dependency| dependency.link == Link::Isolated) {
            return Err(Box::new(ShadowCalls { plugin: plugin.name().clone() }));
        }
        // Of a bus that nobody listens to.
        let log = EventLog::new(EventLogLimits::default());
        let nobody = EventBus::new(BusSettings::default(), log);
        let reach = Reach {
            config: Arc::new(ScratchConfig::new(self.config.clone())),
            events: nobody.source(plugin.name().clone()),
        };
        let grant = self.policy.grant(&Request::from_manifest(&manifest));
        let mut terms = self.terms_within(plugin, grant, reach)?;
        // What it does itself is to be seen, and no other version is to act in its place.
        terms.on_failure = OnFailure::Refuse;
        Ok(terms)
    }

    fn changed(&self, name: &PluginId, versions: &[Arc<Plugin<HostState>>]) {
        self.routes.update(name, versions);
        self.mail.update(name, &self.routes);
        self.subscribers.update(name, versions, &self.routes);
    }
}
