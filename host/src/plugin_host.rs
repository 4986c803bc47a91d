//! The host: plugins by name, and calls to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream::FuturesUnordered};
use host_core::{
    Batch, BatchControl, BatchItem, BreakerState, Caller, CodeMetrics, CoreError, EngineMetrics,
    EventCall, FunctionCall, FunctionInfo, FunctionReply, MetricsSnapshot, Operation, Plugin,
    PluginState, PoolStatus, ProcessCall, ProcessReply, Registry,
};
use host_ipc::EventLog;
use host_security::Grant;
use plugin_contract::{Digest, Explain, PluginId, World};
use semver::Version;
use tokio::time::Instant;

use crate::{
    AuditCounts, HostError, Learned, PluginHostBuilder, PluginRef, state::HostState,
    terms::HostTerms,
};

/// Plugins that serve, and the one way to call them. Cheap to clone; all clones are one host.
#[derive(Clone)]
pub struct PluginHost {
    inner: Arc<Inner>,
}

struct Inner {
    terms: Arc<HostTerms>,
    registry: Registry<HostState>,
    /// What never came to be registered.
    refused: Mutex<BTreeMap<PathBuf, Arc<Refused>>>,
    closing: AtomicBool,
}

/// Something in a plugin directory that does not serve.
#[derive(Debug)]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub error: HostError,
    /// Where it stands: failed for good, or to be tried again.
    pub state: PluginState,
}

/// A plugin that serves, or would.
#[derive(Debug, Clone)]
pub struct PluginInfo {
    /// Its name.
    pub name: PluginId,
    /// Its version.
    pub version: Version,
    /// Whether calls that name no version go to this one.
    pub is_default: bool,
    /// Where it stands.
    pub state: PluginState,
    /// Its world; `None` if it is none of this contract's.
    pub world: Option<World>,
    /// One sentence for people.
    pub description: Option<String>,
    /// The media types that `process` takes; empty: any.
    pub accepts: Vec<String>,
    /// The event types it is called for.
    pub subscriptions: Vec<String>,
    /// What it was granted.
    pub grant: Grant,
    /// Of its component.
    pub digest: Digest,
    /// Where it came from.
    pub path: PathBuf,
    /// How busy it is.
    pub pool: PoolStatus,
}

/// What one revision of a plugin has done so far.
#[derive(Debug, Clone)]
pub struct PluginMetrics {
    /// Its name.
    pub name: PluginId,
    /// Its version.
    pub version: Version,
    /// Where it stands.
    pub state: PluginState,
    /// Whether calls are let through to it.
    pub breaker: BreakerState,
    /// Its calls.
    pub calls: MetricsSnapshot,
    /// Its instances.
    pub pool: PoolStatus,
}

/// What became of handing an event to one plugin.
#[derive(Debug)]
pub struct Delivery {
    /// Which.
    pub plugin: PluginId,
    /// Whether it handled the event.
    pub outcome: Result<(), HostError>,
}

type HostPlugin = Arc<Plugin<HostState>>;

/// How often a call looks again for who answers, if it was replaced at that very moment.
const ROUTES_MAX: usize = 5;

/// Has a call answered by the plugin that serves; if that is replaced between the two steps, by whoever
/// took its place. A macro, since no bound says that the future of a closure may be sent.
macro_rules! routed {
    ($inner:expr, $plugin:expr, $found:ident => $call:expr) => {{
        let mut left = ROUTES_MAX;
        loop {
            let $found = match $inner.find($plugin) {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            match $call {
                Err(CoreError::Retired { .. }) if left > 0 => left -= 1,
                answer => break answer.map_err(HostError::from),
            }
        }
    }};
}

impl PluginHost {
    /// A host that has no plugins, keeps nothing, and grants nothing, until told otherwise.
    pub fn builder() -> PluginHostBuilder {
        PluginHostBuilder::default()
    }

    pub(crate) fn new(terms: Arc<HostTerms>, registry: Registry<HostState>) -> Self {
        let inner =
            Inner { terms, registry, refused: Mutex::default(), closing: AtomicBool::new(false) };
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
        self.load_only(path, None).await
    }

    pub(crate) async fn load_only(
        &self,
        path: &Path,
        only: Option<&PluginId>,
    ) -> Result<(), HostError> {
        if !self.is_ready() {
            return Err(HostError::ShuttingDown);
        }
        let loaded = self.inner.registry.load(path, only).await?;
        let mut known = self.inner.refused();
        for refused in loaded.refused {
            let error = HostError::from(CoreError::Shared(refused.error));
            let state = PluginState::Failed;
            let path = refused.path.clone();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            self.inner.terms.audit.done(&file, "", "refused", error.code());
            known.insert(path, Arc::new(Refused { path: refused.path, error, state }));
        }
        // What was registered and did not start says so itself, for as long as that is so.
        for plugin in &loaded.registered {
            known.remove(plugin.path());
        }
        Ok(())
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

    /// What does not serve, and why: what was never let in, and what has failed.
    pub fn refused(&self) -> Vec<Arc<Refused>> {
        let mut refused: Vec<_> = self.inner.refused().values().cloned().collect();
        let failed = self.inner.registry.all().into_iter().filter_map(|plugin| {
            let error = HostError::from(CoreError::Shared(plugin.trouble()?));
            let (path, state) = (plugin.path().to_owned(), plugin.state());
            Some(Arc::new(Refused { path, error, state }))
        });
        refused.extend(failed);
        refused.sort_by(|a, b| a.path.cmp(&b.path));
        refused
    }

    /// What serves, or would if it were called or loaded, by name and version. What has failed is among
    /// the [refused](PluginHost::refused).
    pub fn plugins(&self) -> Vec<PluginInfo> {
        let mut plugins = self.inner.registry.all();
        plugins.retain(|plugin| plugin.trouble().is_none());
        plugins.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        plugins.iter().map(|plugin| self.inner.info(plugin)).collect()
    }

    /// One plugin.
    ///
    /// # Errors
    /// `host/unknown-plugin`.
    pub fn plugin(&self, plugin: &PluginRef) -> Result<PluginInfo, HostError> {
        let found = self.inner.find(plugin)?;
        Ok(self.inner.info(&found))
    }

    /// Turns one input into one output.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `host/unsupported-media-type`, and those of [`Plugin::process`].
    pub async fn process(
        &self,
        plugin: &PluginRef,
        mut call: ProcessCall,
    ) -> Result<ProcessReply, HostError> {
        routed!(self.inner, plugin, found => {
            check_accepts(&found, plugin, &call.content_type)?;
            found.process(&mut call).await
        })
    }

    /// Whether the plugin would take this input, as far as it can tell without doing the work.
    ///
    /// # Errors
    /// As for [`PluginHost::process`].
    pub async fn validate(
        &self,
        plugin: &PluginRef,
        mut call: ProcessCall,
    ) -> Result<bool, HostError> {
        routed!(self.inner, plugin, found => {
            check_accepts(&found, plugin, &call.content_type)?;
            found.validate(&mut call).await
        })
    }

    /// Works on many inputs, a few at a time. Each is reported, whatever becomes of it; a stream that is
    /// not read does nothing, and one that is dropped cancels what is left. The control cancels in part.
    pub fn batch(
        &self,
        plugin: &PluginRef,
        calls: Vec<ProcessCall>,
        batch: Batch,
    ) -> (impl Stream<Item = BatchItem<Result<ProcessReply, HostError>>> + Send + use<>, BatchControl)
    {
        let (host, plugin) = (self.clone(), plugin.clone());
        batch.run(calls, move |call| {
            let (host, plugin) = (host.clone(), plugin.clone());
            async move {
                // On a task of its own: who reads slowly must not keep an instance from ending its call.
                let task = tokio::spawn(async move { host.process(&plugin, call).await });
                let _ended = AbortOnDrop(task.abort_handle());
                task.await.unwrap_or(Err(HostError::ShuttingDown))
            }
        })
    }

    /// Calls an exported function by its name, with arguments as text or as JSON.
    ///
    /// # Errors
    /// `host/unknown-plugin`, and those of [`Plugin::call`].
    pub async fn call(
        &self,
        plugin: &PluginRef,
        caller: &Caller,
        call: &FunctionCall,
    ) -> Result<FunctionReply, HostError> {
        routed!(self.inner, plugin, found => found.call(caller, call).await)
    }

    /// The functions that a plugin exports; it is started first where that is due.
    ///
    /// # Errors
    /// `host/unknown-plugin`, and those of starting it.
    pub async fn functions(&self, plugin: &PluginRef) -> Result<Vec<FunctionInfo>, HostError> {
        Ok(self.inner.find(plugin)?.functions().await?)
    }

    /// Whether the plugin is there and offers `operation`.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `core/not-offered`.
    pub fn check_offers(&self, plugin: &PluginRef, operation: Operation) -> Result<(), HostError> {
        self.inner.find_offering(plugin, operation).map(drop)
    }

    /// Whether the plugin is there, offers `operation`, and takes such inputs: what can be known
    /// before an input is read.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `core/not-offered`, `host/unsupported-media-type`.
    pub fn check(
        &self,
        plugin: &PluginRef,
        operation: Operation,
        content_type: &str,
    ) -> Result<(), HostError> {
        check_accepts(&*self.inner.find_offering(plugin, operation)?, plugin, content_type)
    }

    /// Hands an event to every plugin that wants its type, each within its own limits and at the same
    /// time. One that fails or is slow holds up no other.
    pub async fn publish(&self, caller: &Caller, event: &EventCall) -> Vec<Delivery> {
        let subscribers = self.inner.terms.routes.all();
        let subscribers = subscribers.into_iter().filter(|lease| lease.wants(&event.event_type));
        let deliver = |lease: host_deploy::Lease<HostPlugin>| async move {
            let plugin = PluginRef::from(lease.name().clone());
            let mut first = Some((*lease).clone());
            let outcome = routed!(self.inner, &plugin, found => {
                first.take().unwrap_or(found).on_event(caller, event).await
            });
            Delivery { plugin: plugin.name, outcome }
        };
        let deliveries: FuturesUnordered<_> = subscribers.map(deliver).collect();
        let mut deliveries: Vec<Delivery> = deliveries.collect().await;
        deliveries.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        deliveries
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
    /// `host/unknown-plugin`, and those of admitting and starting it: then the old one serves on.
    pub async fn reload(&self, plugin: &PluginRef, timeout: Duration) -> Result<(), HostError> {
        for found in self.inner.versions(plugin)? {
            let deadline = Instant::now() + timeout;
            let done = self.inner.registry.reload(found.name(), found.version(), deadline).await;
            self.inner.audit("reloaded", &found, &done);
            done?;
        }
        Ok(())
    }

    /// Asks every plugin now how it is, instead of when its time comes.
    pub async fn check_health(&self) {
        self.inner.registry.check_health().await;
    }

    /// What each plugin has done so far, by name and version.
    pub fn metrics(&self) -> Vec<PluginMetrics> {
        let mut plugins = self.inner.registry.all();
        plugins.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        let metrics = |plugin: &HostPlugin| PluginMetrics {
            name: plugin.name().clone(),
            version: plugin.version().clone(),
            state: plugin.state(),
            breaker: plugin.breaker(),
            calls: plugin.metrics(),
            pool: plugin.pool_status(),
        };
        plugins.iter().map(metrics).collect()
    }

    /// What became of compiled code.
    pub fn code_metrics(&self) -> CodeMetrics {
        self.inner.registry.runtime().code_metrics()
    }

    /// What the engines have handed out.
    pub fn engine_metrics(&self) -> Vec<EngineMetrics> {
        self.inner.registry.runtime().engine_metrics()
    }

    /// The events that plugins emitted.
    pub fn events(&self) -> &EventLog {
        &self.inner.terms.events
    }

    /// Whether a plugin of this name is known, in whatever version.
    pub fn serves(&self, name: &str) -> bool {
        self.inner.registry.contains(name)
    }

    /// Whether the host takes calls.
    pub fn is_ready(&self) -> bool {
        !self.inner.closing.load(Ordering::Acquire)
    }

    /// Takes no further calls, waits for those under way, and lets idle instances shut down, those of
    /// plugins that need others before those; all of it within `timeout`. Returns the number of calls
    /// that were still under way at the end.
    pub async fn shutdown(&self, timeout: Duration) -> u64 {
        self.inner.closing.store(true, Ordering::Release);
        self.inner.terms.routes.close();
        let left = self.inner.registry.shutdown(Instant::now() + timeout).await;
        let audit = self.inner.terms.audit.clone();
        let closed = tokio::task::spawn_blocking(move || audit.close());
        // What the log could not write, it has counted and said.
        let _ = closed.await;
        u64::from(left)
    }

    /// What a plugin was seen to use, by a host that was built to [learn](PluginHostBuilder::learn) it.
    ///
    /// # Errors
    /// `host/unknown-plugin`.
    pub fn learned(&self, plugin: &PluginRef) -> Result<Learned, HostError> {
        let versions = self.inner.versions(plugin)?;
        let usage = self.inner.terms.usage.clone().unwrap_or_default();
        let unknown = || HostError::UnknownPlugin(plugin.clone());
        Ok(Learned::of(versions.last().ok_or_else(unknown)?.description(), &usage))
    }

    /// How often plugins were held to their grants, and how often the audit log could not be written.
    pub fn audit_counts(&self) -> AuditCounts {
        self.inner.terms.audit.counts()
    }
}

impl Inner {
    /// The plugin that answers.
    fn find(&self, plugin: &PluginRef) -> Result<HostPlugin, HostError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(HostError::ShuttingDown);
        }
        let found = match &plugin.version {
            None => self.terms.routes.route(&plugin.name).map(|lease| (*lease).clone()),
            Some(version) => self.registry.get(&plugin.name, version),
        };
        found.ok_or_else(|| HostError::UnknownPlugin(plugin.clone()))
    }

    fn find_offering(
        &self,
        plugin: &PluginRef,
        operation: Operation,
    ) -> Result<HostPlugin, HostError> {
        let found = self.find(plugin)?;
        if found.offers(operation) {
            return Ok(found);
        }
        Err(CoreError::NotOffered { plugin: plugin.name.clone(), operation }.into())
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

    fn info(&self, plugin: &HostPlugin) -> PluginInfo {
        let routed = self.terms.routes.route(plugin.name());
        let manifest = &plugin.description().manifest;
        PluginInfo {
            name: plugin.name().clone(),
            version: plugin.version().clone(),
            is_default: routed.is_some_and(|routed| Arc::ptr_eq(&*routed, plugin)),
            state: plugin.state(),
            world: plugin.world(),
            description: manifest.plugin.description.clone(),
            accepts: manifest.plugin.accepts.clone(),
            subscriptions: plugin.subscriptions(),
            // It was granted this when it was registered, and a policy does not change.
            grant: self.terms.grant(manifest),
            digest: plugin.description().info.digest,
            path: plugin.path().to_owned(),
            pool: plugin.pool_status(),
        }
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Refused>>> {
        // Nothing panics while it holds the lock.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a task that nobody waits for any more.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether `found`, called as `plugin`, takes inputs of this media type.
fn check_accepts(
    found: &Plugin<HostState>,
    plugin: &PluginRef,
    content_type: &str,
) -> Result<(), HostError> {
    let manifest = &found.description().manifest;
    if manifest.accepts(content_type) {
        return Ok(());
    }
    Err(HostError::UnsupportedMediaType {
        plugin: plugin.clone(),
        content_type: plugin_contract::escape(content_type, 100),
        accepts: manifest.plugin.accepts.clone(),
    })
}
