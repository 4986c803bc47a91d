//! The host: its plugins, and what an operator does with them.
//!
//! `calls` is how plugins are called, `deploying` how versions come and go, `telling` what there is to know,
//! `taking` what becomes of files that changed.

mod calls;
mod deploying;
mod taking;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use host_core::{Caller, CoreError, Description, Found as FoundPlugin, PluginState, Registry};
use host_deploy::{Key, verdict::Arm};
use host_ipc::{EventBus, EventLog, channel::Exchange};
use plugin_contract::{Explain, PluginId};
use tokio::{sync::watch, time::Instant};

use crate::{
    HostError, PluginHostBuilder, PluginRef,
    deploy::{Deployments, driver, resume::Stored},
    routes::{Found, HostPlugin},
    state::HostState,
    terms::HostTerms,
};

pub use calls::{Answered, Delivery};
pub use deploying::{DeployCounts, DeploymentStatus, RolloutStatus};
pub(crate) use taking::{Outcome, Taken};
pub use telling::{PluginInfo, PluginMetrics, Refused};

/// Plugins that serve, and the one way to call them. Cheap to clone; all clones are one host.
#[derive(Clone)]
pub struct PluginHost {
    inner: Arc<Inner>,
}

struct Inner {
    terms: Arc<HostTerms>,
    registry: Registry<HostState>,
    /// What is deployed; none where nothing is kept.
    deployments: Option<Arc<Deployments>>,
    /// What never came to be registered.
    refused: Mutex<BTreeMap<PathBuf, Arc<Refused>>>,
    closing: AtomicBool,
    /// The same, for those who wait for it.
    closed: watch::Sender<bool>,
}

impl PluginHost {
    /// A host that has no plugins, keeps nothing, and grants nothing, until told otherwise.
    pub fn builder() -> PluginHostBuilder {
        PluginHostBuilder::default()
    }

    pub(crate) fn new(
        terms: Arc<HostTerms>,
        registry: Registry<HostState>,
        deployments: Option<Arc<Deployments>>,
    ) -> Self {
        let inner = Inner {
            terms,
            registry,
            deployments,
            refused: Mutex::default(),
            closing: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Loads the plugins of one more directory, or the one plugin that the directory or file is.
    /// What cannot be loaded is found in [`PluginHost::refused`].
    ///
    /// What is there already in the same version stays, and its twin is refused.
    ///
    /// # Errors
    /// `core/unreadable` if the directory cannot be listed, `host/shutting-down`.
    pub async fn load(&self, path: &Path) -> Result<(), HostError> {
        self.load_found(iter::empty(), Some(path), None).await.map(drop)
    }

    /// Loads what was deployed, and what a directory has beside it; then goes on with what was on its way.
    pub(crate) async fn load_first(
        &self,
        directory: Option<&Path>,
        only: Option<&PluginId>,
    ) -> Result<(), HostError> {
        let Some(deployments) = &self.inner.deployments else {
            return match directory {
                Some(directory) => {
                    self.load_found(iter::empty(), Some(directory), only).await.map(drop)
                }
                None => Ok(()),
            };
        };
        let deployed = deployments.to_load().await.into_iter().map(Stored::read);
        self.load_found(deployed, directory, only).await?;
        deployments.resume(only).await;
        tokio::spawn(driver::drive(Arc::downgrade(deployments)));
        Ok(())
    }

    async fn load_found(
        &self,
        found: impl Iterator<Item = FoundPlugin> + Send + 'static,
        directory: Option<&Path>,
        only: Option<&PluginId>,
    ) -> Result<Vec<Arc<Refused>>, HostError> {
        if !self.is_ready() {
            return Err(HostError::ShuttingDown);
        }
        // The versions of what was deployed are the operator's to choose, and not those of whoever writes to a
        // directory.
        let deployments = self.inner.deployments.clone();
        let manages = move |name: &PluginId| {
            deployments.as_ref().is_some_and(|deployments| deployments.manages(name))
        };
        let wanted = move |found: &Description| !manages(found.name());
        let loaded = self.inner.registry.load_with(found, directory, only, wanted).await?;
        let mut all = Vec::with_capacity(loaded.refused.len());
        let mut known = self.inner.refused();
        for refused in loaded.refused {
            let error = HostError::from(CoreError::Shared(refused.error));
            let state = PluginState::Failed;
            let path = refused.path.clone();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            self.inner.terms.audit.done(&file, "", "refused", error.code());
            let refused = Arc::new(Refused { path: refused.path, error, state });
            all.push(refused.clone());
            known.insert(path, refused);
        }
        // What was registered and did not start says so itself, for as long as that is so.
        for plugin in &loaded.registered {
            known.remove(plugin.path());
        }
        Ok(all)
    }

    /// A misspelt name in the operator's file would otherwise be noticed when it is too late.
    pub(crate) fn warn_of_names_that_are_none(&self) {
        let Inner { terms, registry, .. } = &*self.inner;
        let known: Vec<_> = registry.all().iter().map(|plugin| plugin.name().clone()).collect();
        let named = terms.plugins.keys().chain(terms.policy.plugins.keys());
        let unknown: BTreeSet<_> = named.filter(|name| !known.contains(name)).collect();
        for name in unknown {
            tracing::warn!(%name, "the configuration speaks of a plugin that is not there");
        }
    }

    /// Takes a plugin out of service, in all versions or the one that is named. Calls under way may end
    /// within `timeout`. It stays known, and can be [started](PluginHost::start) again.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `core/still-needed`.
    pub async fn unload(&self, plugin: &PluginRef, timeout: Duration) -> Result<(), HostError> {
        for found in self.inner.versions(plugin)? {
            let deadline = Instant::now() + timeout;
            let done = self.inner.registry.unload(found.name(), found.version(), deadline).await;
            self.inner.audit("unloaded", &found, &done);
            done?;
        }
        Ok(())
    }

    /// Starts a plugin that was unloaded, or has failed, in all versions or the one that is named.
    ///
    /// # Errors
    /// `host/unknown-plugin`, and those of starting it.
    pub async fn start(&self, plugin: &PluginRef) -> Result<(), HostError> {
        for found in self.inner.versions(plugin)? {
            let done = self.inner.registry.start(found.name(), found.version()).await;
            self.inner.audit("started", &found, &done);
            done?;
        }
        Ok(())
    }

    /// Reads a plugin's file anew and has what is there now serve in its place, as
    /// [`Registry::reload`] does.
    ///
    /// # Errors
    /// `host/unknown-plugin`, those of admitting and starting it, and those of handing over its state: then the
    /// old one serves on.
    /// `deploy/managed` if its versions are deployed.
    pub async fn reload(&self, plugin: &PluginRef, timeout: Duration) -> Result<(), HostError> {
        if self.inner.deployments.as_ref().is_some_and(|all| all.manages(&plugin.name)) {
            return Err(HostError::Managed(plugin.name.clone()));
        }
        for found in self.inner.versions(plugin)? {
            let deadline = Instant::now() + timeout;
            let done = self.inner.registry.reload(found.name(), found.version(), deadline).await;
            self.inner.audit("reloaded", &found, &done);
            // Whatever was wrong with it before, it serves now.
            self.inner.refused().remove(done?.path());
        }
        Ok(())
    }

    /// Asks every plugin now how it is, instead of when its time comes.
    pub async fn check_health(&self) {
        self.inner.registry.check_health().await;
    }

    /// The events that plugins emitted.
    pub fn events(&self) -> &EventLog {
        self.inner.terms.subscribers.bus().log()
    }

    /// Whether a plugin of this name is known, in whatever version.
    pub fn serves(&self, name: &str) -> bool {
        self.inner.registry.contains(name)
    }

    /// What hands events to the plugins that subscribe to them: its dead letters and its counts.
    pub fn bus(&self) -> &EventBus {
        self.inner.terms.subscribers.bus()
    }

    /// What carries messages: between plugins, and between them and addresses of the host's own.
    ///
    /// ```no_run
    /// # async fn example(host: host::PluginHost) -> Result<(), Box<dyn std::error::Error>> {
    /// use host::{Caller, channel::Message};
    ///
    /// let mut inbox = host.channel().open("@console".parse()?)?; // plugins write to `@console`
    /// let sender = host.channel().sender("@console".parse()?);
    /// let question = Message::new("auditor".parse()?, "summary", b"today");
    /// let answer = sender.request(&Caller::default(), question, None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn channel(&self) -> &Exchange {
        self.inner.terms.mail.exchange()
    }

    /// Whether the host takes calls.
    pub fn is_ready(&self) -> bool {
        !self.inner.closing.load(Ordering::Acquire)
    }

    /// Returns once the host shuts down.
    pub async fn closing(&self) {
        // The sender is in this very host.
        let _ = self.inner.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Takes no further calls, waits for those under way, and lets idle instances shut down, those of
    /// plugins that need others before those; all of it within `timeout`. The audit log is closed then, for which a
    /// disk that hangs has up to 30 s more. Returns the number of calls
    /// that were still under way at the end.
    pub async fn shutdown(&self, timeout: Duration) -> u64 {
        self.inner.closing.store(true, Ordering::Release);
        self.inner.closed.send_replace(true);
        // Whoever waits for an answer is told that there will be none.
        self.inner.terms.mail.exchange().close();
        let now = Instant::now();
        // Events that wait have a part of the time; what is tried again and again is not to take it all.
        self.inner.terms.subscribers.bus().close(now + timeout / 4).await;
        self.inner.terms.routes.close();
        let left = self.inner.registry.shutdown(now + timeout).await;
        let audit = self.inner.terms.audit.clone();
        let closed = tokio::task::spawn_blocking(move || audit.close());
        // What the log could not write, it has counted and said.
        let _ = closed.await;
        u64::from(left)
    }
}

impl Inner {
    /// The plugin that answers a call made for `caller`.
    fn find_for(&self, plugin: &PluginRef, caller: &Caller) -> Result<Found, HostError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(HostError::ShuttingDown);
        }
        let key = Key { id: caller.request_id.as_bytes(), pin: plugin.side };
        match &plugin.version {
            None => self.terms.routes.find(&plugin.name, key),
            Some(version) => {
                let found = self.registry.get(&plugin.name, version);
                found.map(Found::from).ok_or_else(|| HostError::UnknownPlugin(plugin.clone()))
            }
        }
    }

    /// The plugin that answers, whatever canary is beside it.
    fn find(&self, plugin: &PluginRef) -> Result<HostPlugin, HostError> {
        let plugin = plugin.clone().on(plugin.side.or(Some(Arm::Stable)));
        self.find_for(&plugin, &Caller::default()).map(Found::into_plugin)
    }

    /// All versions that are meant.
    fn versions(&self, plugin: &PluginRef) -> Result<Vec<HostPlugin>, HostError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(HostError::ShuttingDown);
        }
        let mut versions = self.registry.versions(&plugin.name);
        if let Some(version) = &plugin.version {
            versions.retain(|found| found.version() == version);
        }
        match versions.is_empty() {
            true => Err(HostError::UnknownPlugin(plugin.clone())),
            false => Ok(versions),
        }
    }

    /// What an operator did to a plugin belongs into the audit log, and so does what came of it.
    fn audit<R>(&self, what: &str, plugin: &HostPlugin, done: &Result<R, CoreError>) {
        let (name, version) = (plugin.name().as_str(), plugin.version().to_string());
        let detail = done.as_ref().map_or_else(Explain::code, |_| "by the operator");
        self.terms.audit.done(name, &version, what, detail);
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Refused>>> {
        // Nothing panics while it holds the lock.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
